//! What a failure of the client means for the user: its kind, its code, what to do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use weir_engine::error::{Code, Error, Kind, codes};

/// The error of a call that a broker or the client has refused. `doing` says what was tried.
pub(super) fn error(failure: KafkaError, doing: &str) -> Error {
    let code = failure.rdkafka_error_code();
    let (kind, place, hint) = code.map_or((Kind::Unavailable, codes::UNAVAILABLE, None), class);
    let (kind, place) = match &failure {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
            (Kind::Invalid, codes::OPTION)
        }
        _ => (kind, place),
    };
    let error = Error::new(kind, place, format!("kafka: {doing} failed"));
    // A wrong value of an option may be a secret: only its name is told.
    let error = match &failure {
        KafkaError::ClientConfig(_, why, name, _) => error.detail(format!("{name}: {why}")),
        other => error.detail(other.to_string()),
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The kind and code of librdkafka's own codes and the broker's.
fn class(code: RDKafkaErrorCode) -> (Kind, Code, Option<&'static str>) {
    use RDKafkaErrorCode as K;
    match code {
        K::UnknownTopicOrPartition | K::UnknownTopic | K::UnknownPartition => (
            Kind::Invalid,
            codes::NOT_FOUND,
            Some("create the topic, or look at its name"),
        ),
        K::TopicAuthorizationFailed
        | K::GroupAuthorizationFailed
        | K::ClusterAuthorizationFailed
        | K::TransactionalIdAuthorizationFailed
        | K::SaslAuthenticationFailed
        | K::Authentication => (
            Kind::Invalid,
            codes::PERMISSION,
            Some("look at sasl_username, sasl_password and what the broker's rules allow them"),
        ),
        K::Fenced | K::ProducerFenced | K::InvalidProducerEpoch | K::FencedInstanceId => (
            Kind::Conflict,
            codes::UNAVAILABLE,
            Some("another instance of this pipeline writes to the topic: stop one of them"),
        ),
        K::MessageSizeTooLarge | K::MessageBatchTooLarge => (
            Kind::Invalid,
            codes::LIMIT,
            Some("raise max.message.bytes of the topic and properties.message.max.bytes"),
        ),
        K::InvalidTopic | K::InvalidTransactionTimeout | K::UnsupportedFeature => {
            (Kind::Invalid, codes::OPTION, None)
        }
        _ => (
            Kind::Unavailable,
            codes::UNAVAILABLE,
            Some("look whether the broker runs and bootstrap_servers names it"),
        ),
    }
}

/// Whether the same call may succeed later.
pub(super) fn is_passing(failure: &KafkaError) -> bool {
    match failure {
        KafkaError::Transaction(inner) if inner.is_retriable() => true,
        other => other
            .rdkafka_error_code()
            .is_none_or(|code| class(code).0 == Kind::Unavailable),
    }
}
