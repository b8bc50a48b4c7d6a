//! Which handler answers which request, and who may make it.
//!
//! The default is to deny: a path that no route names is 404, and each route says whom it admits.

mod access;
mod pattern;
mod percent;
mod query;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Method;

pub use self::access::{Access, Peer, Role, SubjectFlaw};
pub(crate) use self::pattern::Params;
pub use self::pattern::PatternFlaw;
pub use self::query::Query;
pub use self::request::Request;
pub use self::response::Response;

/// What answers a request. It runs as its own task and to its end even when the caller hangs up
/// or is answered 503 for slowness; a panic in it is answered 500.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// One method on one pattern of paths: who may call it, with how large a body, and what answers.
#[derive(Clone)]
pub struct Route {
    /// Who may call. Anything but [`Access::PUBLIC`] is answered 400 on a plain listener.
    pub access: Access,
    /// The longest body accepted, in bytes; a longer one is answered 413. Zero: no body.
    pub body_bytes_max: usize,
    /// What answers.
    pub handler: Handler,
    /// The method. A `GET` route answers `HEAD` as well.
    pub method: Method,
    /// Segments between slashes: text, `:name` for any one segment, `*name` at the end for one or
    /// more. The more exact pattern wins, whatever the order. A pattern that ends in text, or in a
    /// slash, matches with and without a slash at the end.
    pub pattern: String,
}

impl Route {
    /// A route whose handler is an async function of the request.
    pub fn new<F, A>(method: Method, pattern: &str, access: Access, body_bytes_max: usize, handler: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        Self { access, body_bytes_max, handler, method, pattern: pattern.to_owned() }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("method", &self.method)
            .field("pattern", &self.pattern)
            .field("access", &self.access)
            .field("body_bytes_max", &self.body_bytes_max)
            .finish_non_exhaustive()
    }
}

/// All routes of one server.
#[derive(Clone, Debug)]
pub struct Router {
    /// Most exact pattern first.
    routes: Vec<(pattern::Pattern, Route)>,
}

/// Why routes do not make a router. Each is a mistake in the code that lists them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouterError {
    /// Two routes answer the same method on the same paths.
    #[error("{method} {pattern} is routed twice")]
    Duplicate {
        /// The method of both.
        method: Method,
        /// The pattern of the second.
        pattern: String,
    },
    /// A pattern is not written as [`Route::pattern`] says.
    #[error("the pattern {pattern:?} {flaw}")]
    Pattern {
        /// What is wrong.
        flaw: PatternFlaw,
        /// The pattern.
        pattern: String,
    },
}

/// What a method and a path lead to.
pub(crate) enum Found<'a> {
    Route {
        route: &'a Route,
        params: Params,
    },
    /// The path is known, the method is not: those that are, for the `Allow` header.
    WrongMethod {
        allowed: Vec<Method>,
    },
    MalformedPath,
    Nothing,
}

impl Router {
    /// Sorts the routes and checks that they can be told apart.
    ///
    /// # Errors
    /// [`RouterError`], naming the route at fault.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouterError> {
        let mut sorted: Vec<(pattern::Pattern, Route)> = Vec::with_capacity(routes.len());
        for route in routes {
            let pattern = pattern::Pattern::parse(&route.pattern)
                .map_err(|flaw| RouterError::Pattern { flaw, pattern: route.pattern.clone() })?;
            let twice =
                |(known, other): &(pattern::Pattern, Route)| other.method == route.method && known.same_paths(&pattern);
            if sorted.iter().any(twice) {
                let Route { method, pattern, .. } = route;
                return Err(RouterError::Duplicate { method, pattern });
            }
            sorted.push((pattern, route));
        }
        sorted.sort_by_key(|(pattern, _)| pattern.rank());
        Ok(Self { routes: sorted })
    }

    /// Every route, so that a test can try each with every kind of credential.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|(_, route)| route)
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let path = match pattern::SplitPath::parse(path) {
            Ok(path) => path,
            Err(pattern::PathFlaw::Unroutable) => return Found::Nothing,
            Err(pattern::PathFlaw::Encoding) => return Found::MalformedPath,
        };
        let matching = || self.routes.iter().filter_map(|(pattern, route)| Some((route, pattern.matches(&path)?)));
        let by_method = |wanted: &Method| matching().find(|(route, _)| route.method == *wanted);
        let found = match (by_method(method), method) {
            (None, &Method::HEAD) => by_method(&Method::GET),
            (found, _) => found,
        };
        if let Some((route, params)) = found {
            return Found::Route { route, params };
        }
        let mut allowed: Vec<Method> = matching().map(|(route, _)| route.method.clone()).collect();
        allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        if allowed.is_empty() { Found::Nothing } else { Found::WrongMethod { allowed } }
    }
}
