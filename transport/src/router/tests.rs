#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use http::{Method, StatusCode};

use super::query::QueryFlaw;
use super::{Access, Found, PatternFlaw, Peer, Query, Response, Role, Route, Router, RouterError};

fn route(method: Method, pattern: &str) -> Route {
    Route::new(method, pattern, Access::ADMIN, 0, |_| async { Response::empty(StatusCode::OK) })
}

fn router(patterns: &[&str]) -> Router {
    Router::new(patterns.iter().map(|pattern| route(Method::GET, pattern)).collect()).unwrap()
}

/// The pattern a path leads to and the value of its parameter `p`.
fn find(router: &Router, path: &str) -> Option<(String, Option<String>)> {
    match router.find(&Method::GET, path) {
        Found::Route { route, params } => Some((route.pattern.clone(), params.get("p").map(str::to_owned))),
        Found::WrongMethod { .. } | Found::MalformedPath | Found::Nothing => None,
    }
}

fn found(pattern: &str, value: Option<&str>) -> Option<(String, Option<String>)> {
    Some((pattern.to_owned(), value.map(str::to_owned)))
}

#[test]
fn the_more_exact_pattern_wins_in_any_order() {
    let patterns = ["/*p", "/:p/agents", "/v2/:p", "/v2/agents"];
    let mut reversed = patterns;
    reversed.reverse();
    for router in [router(&patterns), router(&reversed)] {
        assert_eq!(find(&router, "/v2/agents"), found("/v2/agents", None));
        assert_eq!(find(&router, "/v2/x"), found("/v2/:p", Some("x")));
        assert_eq!(find(&router, "/v3/agents"), found("/:p/agents", Some("v3")));
        assert_eq!(find(&router, "/v3/x/y"), found("/*p", Some("v3/x/y")));
        assert_eq!(find(&router, "/"), None);
    }
}

#[test]
fn a_slash_at_the_end_is_tolerated_on_collections_alone() {
    let router = router(&["/agents", "/agents/:p", "/:p/"]);
    assert_eq!(find(&router, "/agents/"), found("/agents", None));
    assert_eq!(find(&router, "/agents"), found("/agents", None));
    assert_eq!(find(&router, "/v3/"), found("/:p/", Some("v3")));
    assert_eq!(find(&router, "/agents/a"), found("/agents/:p", Some("a")));
    assert_eq!(find(&router, "/agents/a/"), None);
    assert_eq!(find(&router, "/agents//"), None);
}

#[test]
fn the_root_is_a_path_of_its_own() {
    let router = router(&["/"]);
    assert_eq!(find(&router, "/"), found("/", None));
    assert_eq!(find(&router, "//"), None);
    assert_eq!(find(&router, "*"), None);
}

#[test]
fn escapes_are_decoded_within_a_segment() {
    let router = router(&["/agents/:p", "/tile/*p"]);
    assert_eq!(find(&router, "/%61gents/a%20b%C3%A9"), found("/agents/:p", Some("a bé")));
    assert_eq!(find(&router, "/tile/0/x001/234"), found("/tile/*p", Some("0/x001/234")));
}

#[test]
fn escapes_that_would_change_the_path_are_malformed() {
    let router = router(&["/agents/:p", "/tile/*p"]);
    for path in [
        "/agents/a%2Fb",
        "/agents/%2e%2e",
        "/agents/..",
        "/tile/0/../1",
        "/tile/.",
        "/agents/a%00",
        "/agents/a%0A",
        "/agents/%",
        "/agents/%4",
        "/agents/%zz",
        "/agents/%ff",
        "/agents/%+1",
    ] {
        assert!(matches!(router.find(&Method::GET, path), Found::MalformedPath), "{path}");
    }
}

#[test]
fn a_wrong_method_lists_the_right_ones() {
    let router = Router::new(vec![
        route(Method::PUT, "/agents/:id"),
        route(Method::GET, "/agents/:id"),
        route(Method::POST, "/agents"),
    ])
    .unwrap();
    let Found::WrongMethod { allowed } = router.find(&Method::DELETE, "/agents/x") else {
        panic!("the path is known, the method is not");
    };
    assert_eq!(allowed, [Method::GET, Method::PUT]);
    assert!(matches!(router.find(&Method::DELETE, "/agent"), Found::Nothing));
}

#[test]
fn head_is_answered_by_get_routes_alone() {
    let router = Router::new(vec![route(Method::GET, "/a"), route(Method::POST, "/b")]).unwrap();
    assert!(matches!(router.find(&Method::HEAD, "/a"), Found::Route { .. }));
    assert!(matches!(router.find(&Method::HEAD, "/b"), Found::WrongMethod { .. }));
}

#[test]
fn routes_that_cannot_be_told_apart_are_refused() {
    let twice = Router::new(vec![route(Method::GET, "/a/:x"), route(Method::GET, "/a/:y")]);
    let pattern = "/a/:y".to_owned();
    assert_eq!(twice.unwrap_err(), RouterError::Duplicate { method: Method::GET, pattern });
    assert!(Router::new(vec![route(Method::GET, "/a/:x"), route(Method::PUT, "/a/:x")]).is_ok());
}

#[test]
fn malformed_patterns_are_refused() {
    for (pattern, flaw) in [
        ("", PatternFlaw::Slash),
        ("a", PatternFlaw::Slash),
        ("/a//b", PatternFlaw::EmptySegment),
        ("//", PatternFlaw::EmptySegment),
        ("/:", PatternFlaw::Parameter),
        ("/:a/:a", PatternFlaw::Parameter),
        ("/*a/b", PatternFlaw::RestNotLast),
    ] {
        let pattern = pattern.to_owned();
        let refused = Router::new(vec![route(Method::GET, &pattern)]).unwrap_err();
        assert_eq!(refused, RouterError::Pattern { flaw, pattern });
    }
}

#[test]
fn a_query_is_decoded_in_order() {
    let query = Query::parse("nonce=a%2Bb+c&partial=1&flag&eq=x=y").unwrap();
    let pairs: Vec<_> = query.iter().collect();
    assert_eq!(pairs, [("nonce", "a+b c"), ("partial", "1"), ("flag", ""), ("eq", "x=y")]);
    assert_eq!(query.get("partial"), Some("1"));
    assert_eq!(query.get("mask"), None);
    assert_eq!(Query::parse("").unwrap(), Query::default());
}

#[test]
fn an_ambiguous_query_is_refused() {
    assert_eq!(Query::parse("a=1&%61=2"), Err(QueryFlaw::Twice("a".to_owned())));
    assert_eq!(Query::parse("a=1&&b=2"), Err(QueryFlaw::NoName));
    assert_eq!(Query::parse("=1"), Err(QueryFlaw::NoName));
    assert_eq!(Query::parse("a=%f"), Err(QueryFlaw::Encoding));
    assert_eq!(Query::parse("a=%ff"), Err(QueryFlaw::Encoding));
}

#[test]
fn an_access_admits_exactly_its_roles() {
    let certified = |role| Peer::Certified { common_name: "x".into(), role };
    let roles = [Role::Admin, Role::Auditor, Role::Service];
    for (access, admitted) in [
        (Access::PUBLIC, roles.as_slice()),
        (Access::READER, &roles),
        (Access::ADMIN, &[Role::Admin]),
        (Access::SERVICE, &[Role::Service]),
        (Access::roles(&[Role::Service, Role::Admin]), &[Role::Service, Role::Admin]),
        (Access::roles(&[]), &[]),
    ] {
        for role in roles {
            assert_eq!(access.admits(&certified(role)), admitted.contains(&role), "{access:?}");
        }
        assert_eq!(access.admits(&Peer::Anonymous), access.is_public());
    }
}

#[test]
fn only_known_names_of_ours_are_roles() {
    assert_eq!(Role::from_ou("attestry-service"), Some(Role::Service));
    assert_eq!(Role::from_ou("attestry-auditor"), Some(Role::Auditor));
    assert_eq!(Role::from_ou("attestry-admin"), None);
    assert_eq!(Role::from_ou("Operations"), Some(Role::Admin));
}
