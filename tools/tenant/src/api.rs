//! The servers' and agents' answers, with their failures turned into something to act on.

use http::Method;
use messages::envelope::Envelope;
use serde::{Serialize, de::DeserializeOwned};
use transport::client::{Answer, Client, Outgoing};

use crate::failure::Failure;

/// A peer that speaks the Keylime v2 API.
pub(crate) struct Peer<'a> {
    /// What it is to the reader: `registrar`, `verifier`, `agent`.
    pub(crate) name: &'static str,
    /// `https://host:port`.
    pub(crate) url: &'a str,
    /// The connection's trust.
    pub(crate) client: &'a Client,
}

impl Peer<'_> {
    /// GET, with `None` for 404.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let answer = self.send(Outgoing::new(Method::GET, self.address(path))).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        self.results(path, &answer).map(Some)
    }

    /// POST or PUT with a JSON body; the answer's results are read as `T`.
    pub(crate) async fn submit<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::system("encode a request", error))?;
        let outgoing = Outgoing::new(method, self.address(path)).with_body("application/json", body);
        self.results(path, &self.send(outgoing).await?)
    }

    /// DELETE; true for 200, false for 202, an error otherwise.
    pub(crate) async fn delete(&self, path: &str) -> Result<bool, Failure> {
        let answer = self.send(Outgoing::new(Method::DELETE, self.address(path))).await?;
        match answer.status.as_u16() {
            200 | 204 => Ok(true),
            202 => Ok(false),
            _ => Err(self.refusal(path, &answer)),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Answer, Failure> {
        self.client.request(outgoing).await.map_err(|error| {
            let remedy = match self.name {
                "agent" => "see that attestry-agent runs on the machine and that its address is reachable from here",
                _ => "see that attestry up is running; its addresses are in endpoints.json",
            };
            Failure::system(format_args!("reach the {} at {}", self.name, self.url), error).remedy(remedy)
        })
    }

    fn results<T: DeserializeOwned>(&self, path: &str, answer: &Answer) -> Result<T, Failure> {
        if !answer.status.is_success() {
            return Err(self.refusal(path, answer));
        }
        let envelope: Envelope<T> = serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::system(format_args!("understand the {}'s answer to {path}", self.name), error))?;
        Ok(envelope.results)
    }

    fn refusal(&self, path: &str, answer: &Answer) -> Failure {
        let reason = match serde_json::from_slice::<serde_json::Value>(&answer.body) {
            Ok(body) => reason(&body),
            Err(_) => String::new(),
        };
        Failure::new(format!("the {} refused {path}: {} {reason}", self.name, answer.status.as_u16()))
    }
}

/// The reason in a Keylime envelope or in a JSON:API error.
fn reason(body: &serde_json::Value) -> String {
    let status = body.get("status").and_then(|text| text.as_str());
    let detail = body.pointer("/errors/0/detail").and_then(|text| text.as_str());
    // A peer's text goes to a terminal: nothing that could steer it.
    status.or(detail).unwrap_or_default().chars().filter(|c| !c.is_control()).take(2_000).collect()
}
