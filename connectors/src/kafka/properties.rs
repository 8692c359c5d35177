//! Which properties of librdkafka a script may pass through as `properties.NAME`.
//!
//! It is a list of what is allowed: a client's options can run commands, load libraries, read
//! files and call servers, and a later version may bring more of them. The other lists only say
//! why; a test holds that every property of the version that is built in stands in one of them.

use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::{GivenOptions, nearest};

/// What begins the name of an option that is passed through.
pub(super) const PREFIX: &str = "properties.";

/// Passed through as they are.
const ALLOWED: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "fetch.error.backoff.ms",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "linger.ms",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partitioner",
    "queue.buffering.max.ms",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Said by an option of the connector, which is checked, documented and, where it must be, secret.
const OWN: &[(&str, &str)] = &[
    ("auto.offset.reset", "on_offset_out_of_range"),
    ("bootstrap.servers", "bootstrap_servers"),
    ("fetch.max.bytes", "buffer_size"),
    ("fetch.message.max.bytes", "buffer_size"),
    ("isolation.level", "isolation_level"),
    ("max.partition.fetch.bytes", "buffer_size"),
    ("metadata.broker.list", "bootstrap_servers"),
    ("queued.max.messages.kbytes", "buffer_size"),
    ("sasl.mechanism", "sasl_mechanism"),
    ("sasl.mechanisms", "sasl_mechanism"),
    ("sasl.password", "sasl_password"),
    ("sasl.username", "sasl_username"),
    ("security.protocol", "security_protocol"),
    ("ssl.ca.location", "ssl_ca_location"),
    ("ssl.certificate.location", "ssl_certificate_location"),
    ("ssl.key.location", "ssl_key_location"),
    ("ssl.key.password", "ssl_key_password"),
    ("topic.blacklist", "topic_pattern"),
    ("transaction.timeout.ms", "transaction_timeout"),
];

/// Not to be set by a script, each group with its reason.
const DENIED: &[(&str, &[&str])] = &[
    (
        "runs a command or loads code into the process",
        &[
            "interceptors",
            "plugin.library.paths",
            "sasl.kerberos.kinit.cmd",
            "ssl.engine.id",
            "ssl.engine.location",
            "ssl.providers",
            "ssl_engine_callback_data",
        ],
    ),
    (
        "reads or writes a file of the machine",
        &[
            "https.ca.location",
            "offset.store.path",
            "sasl.kerberos.keytab",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.jwt.template.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "ssl.ca.certificate.stores",
            "ssl.crl.location",
            "ssl.keystore.location",
        ],
    ),
    (
        "belongs to a login that this version does not offer; some of them call other servers",
        &[
            "enable.sasl.oauthbearer.unsecure.jwt",
            "https.ca.pem",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.principal",
            "sasl.kerberos.service.name",
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.extensions",
            "sasl.oauthbearer.grant.type",
            "sasl.oauthbearer.metadata.authentication.type",
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.token.endpoint.url",
        ],
    ),
    (
        "would carry a key in plain text, or let another server stand in for the broker",
        &[
            "enable.ssl.certificate.verification",
            "ssl.ca.pem",
            "ssl.certificate.pem",
            "ssl.endpoint.identification.algorithm",
            "ssl.key.pem",
            "ssl.keystore.password",
            "ssl_ca",
            "ssl_certificate",
            "ssl_key",
        ],
    ),
    (
        "is what the promise to lose nothing and to write nothing twice stands on",
        &[
            "acks",
            "delivery.report.only.error",
            "delivery.timeout.ms",
            "enable.gapless.guarantee",
            "enable.idempotence",
            "enable.partition.eof",
            "message.send.max.retries",
            "message.timeout.ms",
            "request.required.acks",
            "retries",
            "transactional.id",
        ],
    ),
    (
        "is of consumer groups, which Weir does not join: offsets are in its checkpoints",
        &[
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "coordinator.query.interval.ms",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "group.id",
            "group.instance.id",
            "group.protocol",
            "group.protocol.type",
            "group.remote.assignor",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "offset.store.method",
            "offset.store.sync.interval.ms",
            "partition.assignment.strategy",
            "session.timeout.ms",
        ],
    ),
    (
        "bounds memory or waiting, which Weir does itself",
        &[
            "consume.callback.max.messages",
            "fetch.queue.backoff.ms",
            "queue.buffering.backpressure.threshold",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "queued.min.messages",
            "queuing.strategy",
        ],
    ),
    (
        "is for programs in C, for old brokers or for looking into the client, whose log may show \
         what is secret",
        &[
            "api.version.fallback.ms",
            "api.version.request",
            "background_event_cb",
            "broker.version.fallback",
            "builtin.features",
            "closesocket_cb",
            "connect_cb",
            "consume_cb",
            "debug",
            "default_topic_conf",
            "dr_cb",
            "dr_msg_cb",
            "enable.metrics.push",
            "enable.random.seed",
            "enabled_events",
            "error_cb",
            "internal.termination.signal",
            "log.connection.close",
            "log.queue",
            "log.thread.name",
            "log_cb",
            "log_level",
            "msg_order_cmp",
            "oauthbearer_token_refresh_cb",
            "offset_commit_cb",
            "opaque",
            "open_cb",
            "partitioner_cb",
            "produce.offset.report",
            "rebalance_cb",
            "resolve_cb",
            "socket_cb",
            "ssl.certificate.verify_cb",
            "statistics.interval.ms",
            "stats_cb",
            "throttle_cb",
        ],
    ),
];

/// What is known of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Passed through.
    Allowed,
    /// Said by this option.
    Own(&'static str),
    /// Refused for this reason.
    Denied(&'static str),
}

/// Looks a property up; `None` when this version of the client has no such property.
pub(super) fn class(property: &str) -> Option<Class> {
    if ALLOWED.contains(&property) {
        return Some(Class::Allowed);
    }
    if let Some((_, option)) = OWN.iter().find(|(name, _)| *name == property) {
        return Some(Class::Own(option));
    }
    let group = DENIED.iter().find(|(_, names)| names.contains(&property));
    group.map(|(reason, _)| Class::Denied(reason))
}

/// Takes the `properties.*` out of the options of a script, checked.
pub(super) fn take(owner: &str, given: &mut GivenOptions) -> Result<Vec<(String, String)>> {
    let names: Vec<String> = given
        .keys()
        .filter(|name| name.starts_with(PREFIX))
        .cloned()
        .collect();
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        let Some(value) = given.remove(&name) else {
            continue;
        };
        let property = name.strip_prefix(PREFIX).unwrap_or_default();
        match class(property) {
            Some(Class::Allowed) => taken.push((property.to_owned(), value.text)),
            other => return Err(refused(owner, &name, property, other).at(value.place)),
        }
    }
    Ok(taken)
}

fn refused(owner: &str, name: &str, property: &str, class: Option<Class>) -> Error {
    let error = |code, why: String| {
        let message = format!("option \"{name}\" of {owner} {why}");
        Error::new(Kind::Invalid, code, message)
    };
    match class {
        Some(Class::Own(option)) => error(codes::OPTION, "cannot be passed through".to_owned())
            .hint(format!("use the option \"{option}\"")),
        Some(Class::Denied(reason)) => {
            error(codes::OPTION, "cannot be set".to_owned()).detail(format!("it {reason}"))
        }
        Some(Class::Allowed) | None => nearest(
            error(codes::UNKNOWN_OPTION, "is not known".to_owned()),
            property,
            ALLOWED.iter().copied(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use weir_engine::options::OptionValue;

    /// The table of properties that comes with the source of the client that is built in.
    fn documented() -> BTreeSet<String> {
        let home = std::env::var("CARGO_HOME").map_or_else(
            |_| std::path::PathBuf::from(std::env::var("HOME").unwrap()).join(".cargo"),
            Into::into,
        );
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock
            .split_once("name = \"rdkafka-sys\"\nversion = \"")
            .unwrap();
        let (version, _) = after.split_once('"').unwrap();
        let folder = format!("rdkafka-sys-{version}");
        let file = std::fs::read_dir(home.join("registry/src"))
            .unwrap()
            .map(|registry| registry.unwrap().path().join(&folder))
            .map(|sources| sources.join("librdkafka/CONFIGURATION.md"))
            .find(|file| file.exists())
            .unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let names = text.lines().filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let (name, scope) = (cells.next()?, cells.next()?);
            matches!(scope, "*" | "C" | "P").then(|| name.to_owned())
        });
        names.collect()
    }

    #[test]
    fn every_property_of_the_client_is_classified_once() {
        let documented = documented();
        assert!(documented.len() > 150, "{} found", documented.len());
        let unclassified: Vec<_> = documented.iter().filter(|p| class(p).is_none()).collect();
        assert!(unclassified.is_empty(), "{unclassified:?}");

        let listed: Vec<&str> = ALLOWED
            .iter()
            .copied()
            .chain(OWN.iter().map(|(name, _)| *name))
            .chain(DENIED.iter().flat_map(|(_, names)| names.iter().copied()))
            .collect();
        let unknown: Vec<_> = listed
            .iter()
            .filter(|p| !documented.contains(**p))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let distinct: BTreeSet<_> = listed.iter().collect();
        assert_eq!(distinct.len(), listed.len(), "a property is listed twice");
    }

    #[test]
    fn only_allowed_properties_pass() {
        let given = |name: &str| {
            let value = OptionValue {
                text: "x".to_owned(),
                place: None,
            };
            GivenOptions::from([(name.to_owned(), value)])
        };
        let mut options = given("properties.client.id");
        let taken = take("connector 'kafka'", &mut options).unwrap();
        assert_eq!(taken, [("client.id".to_owned(), "x".to_owned())]);
        assert!(options.is_empty());
        for name in documented()
            .iter()
            .filter(|p| class(p) != Some(Class::Allowed))
        {
            let error = take("connector 'kafka'", &mut given(&format!("{PREFIX}{name}")));
            assert_eq!(error.unwrap_err().code(), codes::OPTION, "{name}");
        }
        for name in [
            "",
            "no.such",
            "SASL.KERBEROS.KINIT.CMD",
            " debug",
            "Client.Id",
        ] {
            let error = take("connector 'kafka'", &mut given(&format!("{PREFIX}{name}")));
            assert_eq!(error.unwrap_err().code(), codes::UNKNOWN_OPTION, "{name:?}");
        }
        let error = take(
            "connector 'kafka'",
            &mut given("properties.plugin.library.paths"),
        );
        expect_test::expect![[r#"
            error[E0203]: option "properties.plugin.library.paths" of connector 'kafka' cannot be set
              detail: it runs a command or loads code into the process"#]]
        .assert_eq(&error.unwrap_err().report(None));
    }
}
