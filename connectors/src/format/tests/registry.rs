//! The registry's client: logins, refusals, retries, bounds.

use std::time::Duration;

use expect_test::expect;

use super::server::Server;
use super::*;
use crate::format::registry::Registry;

fn registry(server: &Server, more: &[(&str, &str)]) -> Arc<Registry> {
    let mut given = vec![
        ("format", "avro"),
        ("schema_registry", server.url.as_str()),
        ("schema_registry_timeout", "1 second"),
    ];
    given.extend_from_slice(more);
    let options = options(SOURCE_OPTIONS, &given).unwrap();
    Registry::new(options.registry.as_ref().unwrap(), &env()).unwrap()
}

fn masked(text: &str, server: &Server) -> String {
    text.replace(&server.url, "http://registry")
}

#[tokio::test]
async fn asks_with_the_login_and_keeps_what_it_learned() {
    let server = Server::start().await;
    server.add("other", 1, "AVRO", "\"int\"", &[]);
    server.add(
        "orders-value",
        7,
        "AVRO",
        "\"string\"",
        &[("n", "other", 1)],
    );
    let login = [
        ("schema_registry_user", "me"),
        ("schema_registry_password", "secret"),
    ];
    let client = registry(&server, &login);
    let schema = client.by_id(7).await.unwrap().unwrap();
    assert_eq!((schema.id, schema.text.as_str()), (7, "\"string\""));
    assert_eq!(schema.references, [("n".to_owned(), "\"int\"".to_owned())]);
    client.by_id(7).await.unwrap().unwrap();
    assert!(client.by_id(99).await.unwrap().is_none());
    expect![[r#"
        GET /schemas/ids/7 Basic bWU6c2VjcmV0
        GET /subjects/other/versions/1 Basic bWU6c2VjcmV0
        GET /schemas/ids/99 Basic bWU6c2VjcmV0"#]]
    .assert_eq(&server.seen().join("\n"));
    let client = registry(&server, &[("schema_registry_token", "abc")]);
    assert_eq!(client.latest().await.unwrap().unwrap().id, 7);
    assert!(server.seen()[0].ends_with("Bearer abc"));
    assert!(!format!("{client:?}").contains("abc"));
}

#[tokio::test]
async fn asks_again_while_the_registry_is_in_trouble() {
    let server = Server::start().await;
    server.add("orders-value", 1, "AVRO", "\"int\"", &[]);
    let unavailable = || (503, "busy".to_owned());
    server.state.lock().troubles = vec![unavailable(), (0, String::new()), (429, String::new())];
    let client = registry(&server, &[("schema_registry_timeout", "30 seconds")]);
    assert!(client.by_id(1).await.unwrap().is_some());
    assert_eq!(server.seen().len(), 4);

    server.state.lock().troubles = (0..20).map(|_| unavailable()).collect();
    let client = registry(&server, &[]);
    let error = client.by_id(1).await.unwrap_err();
    expect![[r#"
        error[E0206]: the schema registry http://registry/ does not answer
          detail: status 503
          hint: check schema_registry and that the registry runs; questions are repeated for schema_registry_timeout"#]].assert_eq(&masked(&report(&error), &server));
    assert_eq!(error.kind(), weir_engine::error::Kind::Unavailable);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let server = Server::start().await;
    let client = registry(&server, &[("schema_registry_timeout", "100ms")]);
    server.task_abort();
    let error = client.by_id(1).await.unwrap_err();
    assert_eq!(error.code().0, "E0206");
}

#[tokio::test]
async fn refusals_are_told_at_once() {
    let server = Server::start().await;
    let client = registry(&server, &[("schema_registry_user", "me")]);
    let incompatible = r#"{"error_code":409,"message":"Schema being registered is incompatible"}"#;
    for (status, body) in [
        (401, "{\"error_code\":40101,\"message\":\"Unauthorized\"}"),
        (403, ""),
        (404, "<html>"),
        (409, incompatible),
        (422, "{\"error_code\":42201,\"message\":\"Invalid schema\"}"),
        (200, "not json"),
    ] {
        server.state.lock().troubles = vec![(status, body.to_owned())];
        let error = client.register("\"int\"").await.unwrap_err();
        server.state.lock().troubles.clear();
        let text = masked(&report(&error), &server);
        match status {
            401 => expect![[r#"
                error[E0205]: the schema registry http://registry/ refuses access
                  detail: status 401, code 40101: Unauthorized
                  hint: check schema_registry_user, schema_registry_password or schema_registry_token"#]].assert_eq(&text),
            409 => expect![[r#"
                error[E0207]: the sink's columns do not fit the schemas of earlier messages
                  detail: status 409, code 409: Schema being registered is incompatible
                  hint: keep the columns, add only nullable ones, change the subject's compatibility, or choose another schema_registry_subject"#]].assert_eq(&text),
            404 => expect![[r#"
                error[E0207]: the schema registry cannot answer http://registry/subjects/orders-value/versions
                  detail: status 404
                  hint: check that schema_registry is the URL of a registry with Confluent's interface"#]].assert_eq(&text),
            200 => expect![[r#"
                error[E0207]: the schema registry http://registry/ gave an answer that is not its own
                  detail: expected ident at line 1 column 2
                  hint: check that schema_registry is the URL of a registry with Confluent's interface"#]].assert_eq(&text),
            403 => assert_eq!(error.code().0, "E0205"),
            _ => assert_eq!(error.code().0, "E0207"),
        }
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_endless_answer_and_endless_references_are_cut() {
    let server = Server::start().await;
    let client = registry(&server, &[("schema_registry_timeout", "1ms")]);
    server.state.lock().troubles = vec![(200, "x".repeat(5 << 20))];
    let error = client.by_id(1).await.unwrap_err();
    assert_eq!(
        error.detail_text(),
        Some("the answer is longer than 4194304 bytes")
    );
    for id in 1..100 {
        let next = format!("s{}", id + 1);
        server.add(
            &format!("s{id}"),
            id,
            "AVRO",
            "\"int\"",
            &[(&format!("n{id}"), &next, 1)],
        );
    }
    let error = client.by_id(1).await.unwrap_err();
    assert_eq!(error.code().0, "E0503");
    // A circle ends by itself.
    server.add("a", 200, "AVRO", "\"int\"", &[("b", "b", 1)]);
    server.add("b", 201, "AVRO", "\"int\"", &[("a", "a", 1)]);
    assert_eq!(
        client.by_id(200).await.unwrap().unwrap().references.len(),
        2
    );
}

#[test]
fn urls_and_logins_are_checked() {
    let check = |more: &[(&str, &str)], expect: expect_test::Expect| {
        let mut given = vec![("format", "avro")];
        given.extend_from_slice(more);
        expect.assert_eq(&report(&options(SOURCE_OPTIONS, &given).unwrap_err()));
    };
    check(
        &[("schema_registry", "registry:8081")],
        expect![[
            r#"error[E0203]: option "schema_registry" of connector 'kafka': is not an http:// or https:// URL"#
        ]],
    );
    check(
        &[("schema_registry", "http://me:pw@host")],
        expect![[r#"
        error[E0203]: option "schema_registry" of connector 'kafka': must not hold a user or password
          hint: use schema_registry_user and schema_registry_password"#]],
    );
    let url = ("schema_registry", "https://host/base/");
    check(
        &[url, ("schema_registry_password", "x")],
        expect![[
            r#"error[E0203]: option "schema_registry_user" of connector 'kafka': is needed with a password"#
        ]],
    );
    check(
        &[
            url,
            ("schema_registry_user", "x"),
            ("schema_registry_token", "y"),
        ],
        expect![[
            r#"error[E0203]: option "schema_registry_token" of connector 'kafka': cannot be used together with a user and password"#
        ]],
    );
    check(
        &[url, ("format", "json")],
        expect![[
            r#"error[E0203]: option "schema_registry" of connector 'kafka': has no meaning for format 'json'"#
        ]],
    );
    let options = options(SOURCE_OPTIONS, &[("format", "avro"), url]).unwrap();
    let place = options.registry.unwrap();
    assert_eq!(place.retry_time, Duration::from_secs(60));
    assert_eq!(place.subject, "orders-value");
}
