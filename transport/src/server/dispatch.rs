//! From an HTTP request to a handler's answer: every check that stands between the two, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use warp::path::FullPath;
use warp::{Filter, Rejection};

use super::Limits;
use crate::router::{Found, Params, Peer, Query, Request, Response, Route, Router};

/// What a connection knows of its other end; travels in each request's extensions.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) over_tls: bool,
    pub(super) peer: Peer,
    pub(super) remote: SocketAddr,
}

/// Held by everything the server has begun and not finished. Never used to send: the receiver
/// learns that all holders are gone.
pub(super) type Unfinished = mpsc::Sender<std::convert::Infallible>;

/// What all requests of a server share.
pub(super) struct Dispatcher {
    bodies: Arc<Semaphore>,
    limits: Limits,
    router: Router,
    unfinished: Unfinished,
}

/// One request before any check.
struct Arrival<S> {
    body: S,
    caller: Caller,
    headers: HeaderMap,
    method: Method,
    path: FullPath,
    query: String,
}

/// A body and the share of [`Limits::bodies_bytes_max`] it takes until the request is over.
struct HeldBody {
    bytes: Bytes,
    permit: Option<OwnedSemaphorePermit>,
}

impl Dispatcher {
    pub(super) fn new(router: Router, limits: Limits, unfinished: Unfinished) -> Self {
        let permits = limits.bodies_bytes_max.min(Semaphore::MAX_PERMITS);
        Self { bodies: Arc::new(Semaphore::new(permits)), limits, router, unfinished }
    }

    /// Everything above the connection, as one warp filter.
    pub(super) fn into_filter(self) -> impl Filter<Extract = (http::Response<Bytes>,), Error = Rejection> + Clone {
        let this = Arc::new(self);
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::ext::get::<Caller>())
            .and(warp::body::stream())
            .then(move |method, path, query, headers, caller, body| {
                let this = Arc::clone(&this);
                let arrival = Arrival { body, caller, headers, method, path, query };
                async move { this.answer(arrival).await }
            })
    }

    async fn answer<S, B>(&self, arrival: Arrival<S>) -> http::Response<Bytes>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let request_id = request_id(&arrival.headers);
        let (method, remote) = (arrival.method.clone(), arrival.caller.remote);
        let (pattern, response) = match self.router.find(&arrival.method, arrival.path.as_str()) {
            Found::Route { route, params } => {
                let answered = self.answer_on(route, params, &request_id, arrival).await;
                (route.pattern.as_str(), answered.unwrap_or_else(|refusal| *refusal))
            }
            Found::WrongMethod { allowed } => ("", wrong_method(&allowed)),
            Found::MalformedPath => ("", refuse(StatusCode::BAD_REQUEST, "The path is malformed")),
            Found::Nothing => ("", Response::empty(StatusCode::NOT_FOUND)),
        };
        let status = response.status.as_u16();
        tracing::debug!(%method, pattern, status, %remote, request_id, "answered");
        finish(response, &request_id)
    }

    /// The checks of one route, cheapest and most telling first; the body is not read before the
    /// caller is known to be admitted.
    async fn answer_on<S, B>(
        &self,
        route: &Route,
        params: Params,
        request_id: &str,
        arrival: Arrival<S>,
    ) -> Result<Response, Box<Response>>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let Arrival { body, caller, headers, query, .. } = arrival;
        let peer = admit(route, &caller, &headers)?;
        let query = Query::parse(&query).map_err(|flaw| boxed(StatusCode::BAD_REQUEST, &format!("The {flaw}")))?;
        let held = self.read_body(route, &headers, body).await?;
        let request = Request {
            body: held.bytes,
            headers,
            over_tls: caller.over_tls,
            method: route.method.clone(),
            peer,
            query,
            remote: caller.remote,
            request_id: request_id.to_owned(),
            params,
        };
        self.run(route, request, held.permit).await
    }

    async fn read_body<S, B>(&self, route: &Route, headers: &HeaderMap, body: S) -> Result<HeldBody, Box<Response>>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let announced = announced.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
        if announced > route.body_bytes_max as u64 {
            return Err(too_long(route));
        }
        match tokio::time::timeout(self.limits.body_timeout, self.collect(route, body)).await {
            Ok(collected) => collected,
            Err(_) => {
                let seconds = self.limits.body_timeout.as_secs_f32();
                let text = format!("The request body did not arrive within {seconds} s");
                Err(boxed(StatusCode::REQUEST_TIMEOUT, &text))
            }
        }
    }

    async fn collect<S, B>(&self, route: &Route, body: S) -> Result<HeldBody, Box<Response>>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        let mut permit: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| boxed(StatusCode::BAD_REQUEST, "The request body is cut short"))?;
            if chunk.remaining() > route.body_bytes_max.saturating_sub(bytes.len()) {
                return Err(too_long(route));
            }
            let share = u32::try_from(chunk.remaining()).map_err(|_| too_long(route))?;
            let share = Arc::clone(&self.bodies).try_acquire_many_owned(share);
            let share = share.map_err(|_| busy("The server holds all the requests it can"))?;
            match &mut permit {
                Some(permit) => permit.merge(share),
                None => permit = Some(share),
            }
            bytes.put(chunk);
        }
        Ok(HeldBody { bytes: bytes.freeze(), permit })
    }

    /// Runs the handler as a task of its own: a caller that hangs up does not stop it between two
    /// steps that belong together, and a panic in it ends nothing else.
    async fn run(
        &self,
        route: &Route,
        request: Request,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Response, Box<Response>> {
        let handler = Arc::clone(&route.handler);
        let unfinished = self.unfinished.clone();
        let request_id = request.request_id.clone();
        let task = tokio::spawn(async move {
            let response = handler(request).await;
            drop((permit, unfinished));
            response
        });
        match tokio::time::timeout(self.limits.answer_timeout, task).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => {
                let (method, pattern) = (&route.method, &route.pattern);
                tracing::error!(%method, pattern, request_id, %failure, "a handler did not finish");
                Err(boxed(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"))
            }
            Err(_) => {
                let (method, pattern) = (&route.method, &route.pattern);
                tracing::warn!(%method, pattern, request_id, "a handler is slow; its caller gets 503");
                Err(busy("The answer takes too long; the request may still be carried out"))
            }
        }
    }
}

/// Whether `route` is open to this caller, and as whom it is to be treated.
///
/// 1. Routes that are not public exist on TLS alone: without it nobody can prove anything (400).
/// 2. `Authorization` never goes together with a certificate's rights: 401 where these are needed,
///    anonymous elsewhere, so that no handler mixes the two.
/// 3. The route's own list (403).
fn admit(route: &Route, caller: &Caller, headers: &HeaderMap) -> Result<Peer, Box<Response>> {
    let public = route.access.is_public();
    if !public && !caller.over_tls {
        return Err(boxed(StatusCode::BAD_REQUEST, "This route needs a TLS connection"));
    }
    let authorization = headers.contains_key(AUTHORIZATION);
    if authorization && !public {
        let detail = "This route takes a client certificate, not an Authorization header";
        return Err(Box::new(Response::jsonapi_error(StatusCode::UNAUTHORIZED, detail)));
    }
    let peer = if authorization { Peer::Anonymous } else { caller.peer.clone() };
    if route.access.admits(&peer) {
        return Ok(peer);
    }
    let detail = match &peer {
        Peer::Anonymous => "This route needs a client certificate",
        Peer::Certified { .. } => "The client certificate's role does not admit it to this route",
        Peer::Unentitled { .. } => "The client certificate's subject gives it no role",
    };
    Err(Box::new(Response::jsonapi_error(StatusCode::FORBIDDEN, detail)))
}

fn refuse(status: StatusCode, text: &str) -> Response {
    Response::envelope_error(status, text)
}

fn boxed(status: StatusCode, text: &str) -> Box<Response> {
    Box::new(refuse(status, text))
}

fn busy(text: &str) -> Box<Response> {
    let refusal = refuse(StatusCode::SERVICE_UNAVAILABLE, text);
    Box::new(refusal.with_header(RETRY_AFTER, HeaderValue::from_static("1")))
}

fn too_long(route: &Route) -> Box<Response> {
    let max = route.body_bytes_max;
    let text = format!("The request body is longer than the {max} bytes this route takes");
    boxed(StatusCode::PAYLOAD_TOO_LARGE, &text)
}

fn wrong_method(allowed: &[Method]) -> Response {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed on this path");
    match HeaderValue::try_from(names.join(", ")) {
        Ok(names) => refusal.with_header(ALLOW, names),
        Err(_) => refusal,
    }
}

fn finish(response: Response, request_id: &str) -> http::Response<Bytes> {
    let Response { body, headers, status } = response;
    let mut http = http::Response::new(body);
    *http.status_mut() = status;
    *http.headers_mut() = headers;
    if let Ok(value) = HeaderValue::from_str(request_id) {
        http.headers_mut().insert(REQUEST_ID, value);
    }
    http
}

/// The caller's id if it is harmless in a log, 64 random bits otherwise.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        let letters = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        letters && (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
    };
    given.filter(harmless).map_or_else(random_id, str::to_owned)
}

fn random_id() -> String {
    let mut id = [0; 8];
    match openssl::rand::rand_bytes(&mut id) {
        Ok(()) => format!("{:016x}", u64::from_be_bytes(id)),
        Err(_) => "none".to_owned(),
    }
}

/// Ties together the logs of both ends, as Keylime's servers and agents do.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Room for a UUID and a prefix; agents send 6 characters.
const REQUEST_ID_CHARS_MAX: usize = 64;
