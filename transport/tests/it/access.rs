//! Every kind of access against every kind of credential.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use openssl::x509::extension::ExtendedKeyUsage;
use serde_json::Value;
use transport::ca;
use transport::client::{Answer, Client, ClientError, Outgoing};
use transport::router::{Access, Peer, Role, Route};
use transport::server::Limits;
use transport::tls::{ClientAuth, ServerTls};

use crate::support::{Authority, Running, Wish, client, get, plain_client, self_signed, server_tls, start, text};

/// The routes of the matrix, in the order of its columns.
const COLUMNS: [(&str, Access); 6] = [
    ("/public", Access::PUBLIC),
    ("/reader", Access::READER),
    ("/service", Access::SERVICE),
    ("/admin", Access::ADMIN),
    ("/admin-or-service", Access::roles(&[Role::Admin, Role::Service])),
    ("/nobody", Access::roles(&[])),
];

fn routes() -> Vec<Route> {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let all = methods.iter().flat_map(|method| COLUMNS.map(|(path, access)| (method, path, access)));
    all.map(|(method, path, access)| {
        Route::new(method.clone(), path, access, 1024, |request| async move {
            text(match &request.peer {
                Peer::Anonymous => "anonymous".to_owned(),
                Peer::Certified { common_name, role } => format!("{common_name} {role:?}"),
                Peer::Unentitled { .. } => "unentitled".to_owned(),
            })
        })
    })
    .collect()
}

/// What a credential gets from the matrix's routes.
enum Expected {
    /// These statuses.
    Answers([u16; 6]),
    /// No connection at all.
    NoConnection,
}

struct Case {
    name: &'static str,
    client: Client,
    authorization: bool,
    expected: Expected,
}

fn cases(ours: &Authority) -> Vec<Case> {
    use Expected::{Answers, NoConnection};
    let foreign = Authority::new();
    let under = |wish: Wish| Some(ours.issue(&wish));
    let admin = || under(Wish::client("Operations"));
    let anonymous = || Answers([200, 403, 403, 403, 403, 403]);
    let with_header = || Answers([200, 401, 401, 401, 401, 401]);
    let ous = vec!["attestry-auditor", "attestry-service"];
    let two_roles = Wish { ous, ..Wish::client("") };
    let auditor_and_other = Wish { ous: vec!["Operations", "attestry-auditor"], ..Wish::client("") };
    let two_names = Wish { common_names: vec!["a", "b"], ..Wish::client("Operations") };
    let control = Wish { common_names: vec!["a\nb"], ..Wish::client("Operations") };
    let no_name = Wish { common_names: vec![], ..Wish::client("Operations") };
    let any_usage = Wish { usage: None, ..Wish::client("Operations") };
    let expired = Wish { days: (-2, -1), ..Wish::client("Operations") };
    let early = Wish { days: (1, 2), ..Wish::client("Operations") };
    let other_usage = Wish { usage: Some(ExtendedKeyUsage::code_signing), ..Wish::client("Operations") };
    let posing = Authority::posing(&admin().unwrap());
    let below_leaf = posing.issue(&Wish::client("Operations"));
    [
        ("no certificate", None, anonymous()),
        ("admin", admin(), Answers([200, 200, 403, 200, 200, 403])),
        ("admin without usages", under(any_usage), Answers([200, 200, 403, 200, 200, 403])),
        ("auditor", under(Wish::client("attestry-auditor")), Answers([200, 200, 403, 403, 403, 403])),
        ("auditor twice over", under(auditor_and_other), Answers([200, 200, 403, 403, 403, 403])),
        ("service", under(Wish::client("attestry-service")), Answers([200, 200, 200, 403, 200, 403])),
        ("unknown role", under(Wish::client("attestry-admin")), anonymous()),
        ("two roles", under(two_roles), anonymous()),
        ("two names", under(two_names), anonymous()),
        ("name with a line break", under(control), anonymous()),
        ("no name", under(no_name), anonymous()),
        ("foreign authority", Some(foreign.issue(&Wish::client("Operations"))), NoConnection),
        ("agent", Some(ca::self_sign("agent", &[]).unwrap()), NoConnection),
        ("self-signed client", Some(self_signed(&Wish::client("attestry-service"))), NoConnection),
        ("issued by a client", Some(below_leaf), NoConnection),
        ("expired", under(expired), NoConnection),
        ("not valid yet", under(early), NoConnection),
        ("server's certificate", under(Wish::server("server")), NoConnection),
        ("code signer's certificate", under(other_usage), NoConnection),
    ]
    .into_iter()
    .map(|(name, identity, expected)| (name, identity, false, expected))
    .chain([("header alone", None, true, with_header()), ("admin with header", admin(), true, with_header())])
    .map(|(name, identity, authorization, expected)| Case {
        name,
        client: client(ours, identity),
        authorization,
        expected,
    })
    .collect()
}

async fn ask(client: &Client, authorization: bool, outgoing: Outgoing) -> Result<Answer, ClientError> {
    let mut outgoing = outgoing;
    if authorization {
        outgoing.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    }
    client.request(outgoing).await
}

async fn walk(server: &Running, case: &Case) {
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        for (column, (path, _)) in COLUMNS.iter().enumerate() {
            let outgoing = Outgoing::new(method.clone(), server.url(path));
            let answer = ask(&case.client, case.authorization, outgoing).await;
            let name = case.name;
            match (&case.expected, answer) {
                (Expected::NoConnection, answer) => {
                    let error = answer.unwrap_err();
                    let refused = matches!(
                        error,
                        ClientError::CertificateRefused { .. } | ClientError::Protocol { .. } | ClientError::Tls { .. }
                    );
                    assert!(refused, "{name} on {method} {path}: {error:?}");
                }
                (Expected::Answers(statuses), answer) => {
                    let status = answer.unwrap().status.as_u16();
                    assert_eq!(Some(&status), statuses.get(column), "{name} on {method} {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_credential_gets_exactly_what_each_route_gives_it() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), routes(), Limits::default()).await;
    for case in cases(&ours) {
        walk(&server, &case).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn refusals_of_a_caller_are_json_api_and_say_why() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), routes(), Limits::default()).await;
    let anonymous = client(&ours, None);
    for (authorization, status, title, detail) in [
        (false, 403, "Forbidden", "This route needs a client certificate"),
        (true, 401, "Unauthorized", "This route takes a client certificate, not an Authorization header"),
    ] {
        let answer = ask(&anonymous, authorization, get(server.url("/admin"))).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let error = serde_json::json!({"status": status.to_string(), "title": title, "detail": detail});
        assert_eq!(body, serde_json::json!({"errors": [error]}));
    }
    server.stop().await;
}

#[tokio::test]
async fn handlers_learn_who_asks_unless_a_header_speaks_for_someone_else() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), routes(), Limits::default()).await;
    let admin = client(&ours, Some(ours.issue(&Wish::client("Operations"))));
    let certified = ask(&admin, false, get(server.url("/public"))).await.unwrap();
    assert_eq!(certified.body, "someone Admin");
    let header = ask(&admin, true, get(server.url("/public"))).await.unwrap();
    assert_eq!(header.body, "anonymous");
    server.stop().await;
}

#[tokio::test]
async fn a_plain_listener_answers_public_routes_alone() {
    let server = start(None, routes(), Limits::default()).await;
    let client = plain_client();
    for (path, access) in COLUMNS {
        let answer = client.request(get(server.plain_url(path))).await.unwrap();
        let expected = if access.is_public() { 200 } else { 400 };
        assert_eq!(answer.status.as_u16(), expected, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_required_certificate_is_required_and_any_of_several_authorities_will_do() {
    let (first, second, foreign) = (Authority::new(), Authority::new(), Authority::new());
    let authorities = vec![first.certificate.clone(), second.certificate.clone()];
    let identity = ca::self_sign("agent", &[]).unwrap();
    let pin = transport::tls::CertificatePin::of(identity.certificate()).unwrap();
    let tls = ServerTls::new(&identity, &ClientAuth::Required(authorities)).unwrap();
    let server = start(Some(tls), routes(), Limits::default()).await;
    for (authority, welcome) in [(&first, true), (&second, true), (&foreign, false)] {
        let shown = authority.issue(&Wish::client("Operations"));
        let answer = client(&first, Some(shown)).pinned(pin).request(get(server.url("/admin"))).await;
        assert_eq!(answer.is_ok_and(|answer| answer.status == StatusCode::OK), welcome);
    }
    assert!(client(&first, None).pinned(pin).request(get(server.url("/public"))).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_asks_for_no_certificate_makes_nobody_an_admin() {
    let ours = Authority::new();
    let identity = ours.issue(&Wish::server("server"));
    let tls = ServerTls::new(&identity, &ClientAuth::None).unwrap();
    let server = start(Some(tls), routes(), Limits::default()).await;
    let admin = client(&ours, Some(ours.issue(&Wish::client("Operations"))));
    let public = admin.request(get(server.url("/public"))).await.unwrap();
    assert_eq!(public.body, "anonymous");
    let refused = admin.request(get(server.url("/admin"))).await.unwrap();
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_before_anything_else() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), routes(), Limits::default()).await;
    let anonymous = client(&ours, None);
    let unknown = anonymous.request(get(server.url("/unknown"))).await.unwrap();
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.body.is_empty());
    let patch = Outgoing::new(Method::PATCH, server.url("/admin"));
    let wrong = anonymous.request(patch).await.unwrap();
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    let allow = wrong.headers.get("allow").unwrap();
    assert_eq!(allow, "DELETE, GET, POST, PUT");
    let malformed = anonymous.request(get(server.url("/%zz"))).await.unwrap();
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    let slash = anonymous.request(get(server.url("/public/"))).await.unwrap();
    assert_eq!(slash.status, StatusCode::OK);
    server.stop().await;
}
