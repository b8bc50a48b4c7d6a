//! `attestry tenant …`: the operator's side of enrolment, provisioning and status.

mod add;
mod show;

use http::Method;
use messages::{
    AgentId,
    envelope::Empty,
    keylime::{AgentStatus, MaintenanceWindow, VerifierAgents},
};
use transport::client::Client;

use crate::{
    api::Peer,
    cli::{AgentArguments, DeleteArguments, ListArguments, MaintenanceArguments, TenantArguments, TenantCommand},
    failure::Failure,
    site::{Endpoints, Site},
};

/// A site one speaks with.
struct Connected {
    client: Client,
    endpoints: Endpoints,
}

impl Connected {
    fn to(data: &std::path::Path) -> Result<Self, Failure> {
        let site = Site::new(data);
        Ok(Self { endpoints: site.endpoints()?, client: site.client()? })
    }

    fn registrar(&self) -> Peer<'_> {
        Peer { name: "registrar", url: &self.endpoints.registrar_tls, client: &self.client }
    }

    fn verifier(&self) -> Peer<'_> {
        Peer { name: "verifier", url: &self.endpoints.verifier, client: &self.client }
    }

    async fn status(&self, agent: &AgentId) -> Result<AgentStatus, Failure> {
        self.verifier().get(&agent_path(agent)).await?.ok_or_else(|| {
            Failure::new(format!("the verifier does not know {agent}"))
                .remedy(format!("add it with: attestry tenant add {agent}"))
        })
    }
}

pub(crate) async fn run(arguments: &TenantArguments) -> Result<(), Failure> {
    match &arguments.command {
        TenantCommand::Add(arguments) => add::add(arguments).await,
        TenantCommand::Delete(arguments) => delete(arguments).await,
        TenantCommand::List(arguments) => list(arguments).await,
        TenantCommand::Maintenance(arguments) => maintenance(arguments).await,
        TenantCommand::Reactivate(arguments) => act(arguments, "reactivate").await,
        TenantCommand::Status(arguments) => status(arguments).await,
        TenantCommand::Stop(arguments) => act(arguments, "stop").await,
        TenantCommand::Update(arguments) => add::update(arguments).await,
    }
}

async fn status(arguments: &AgentArguments) -> Result<(), Failure> {
    let site = Connected::to(&arguments.data.data)?;
    let status = site.status(&arguments.agent).await?;
    show::status(&arguments.agent, &status, arguments.json.json)
}

async fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let site = Connected::to(&arguments.data.data)?;
    let agents: VerifierAgents = site.verifier().get("/v2.6/agents/").await?.unwrap_or_default();
    let mut all = Vec::with_capacity(agents.uuids.len());
    for [agent] in agents.uuids {
        // An agent deleted since the listing is no longer there.
        if let Some(status) = site.verifier().get::<AgentStatus>(&agent_path(&agent)).await? {
            all.push((agent, status));
        }
    }
    show::list(&all, arguments.json.json)
}

async fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let agent = &arguments.agent.agent;
    let site = Connected::to(&arguments.agent.data.data)?;
    let path = agent_path(agent);
    let known = site.verifier().get::<AgentStatus>(&path).await?.is_some();
    if known {
        let now = site.verifier().delete(&path).await?;
        eprintln!("{agent}: {} at the verifier", if now { "deleted" } else { "being deleted" });
    } else if !arguments.registrar {
        return Err(Failure::new(format!("the verifier does not know {agent}")));
    }
    if arguments.registrar {
        site.registrar().delete(&path).await?;
        eprintln!("{agent}: retired at the registrar");
    }
    Ok(())
}

async fn act(arguments: &AgentArguments, action: &str) -> Result<(), Failure> {
    let site = Connected::to(&arguments.data.data)?;
    let path = format!("{}/{action}", agent_path(&arguments.agent));
    site.verifier().submit::<_, Empty>(Method::PUT, &path, &Empty {}).await?;
    let status = site.status(&arguments.agent).await?;
    show::status(&arguments.agent, &status, arguments.json.json)
}

async fn maintenance(arguments: &MaintenanceArguments) -> Result<(), Failure> {
    let MaintenanceArguments { agent: AgentArguments { agent, data, json }, from, to, length_ms, reason } = arguments;
    let from = from.unwrap_or_else(crate::clock::now);
    // One of the two is given.
    let to = to.unwrap_or_else(|| from.plus_ms(length_ms.unwrap_or_default()));
    let window = MaintenanceWindow { from, to, reason: reason.clone() };
    let site = Connected::to(&data.data)?;
    let path = format!("{}/maintenance", agent_path(agent));
    site.verifier().submit::<_, Empty>(Method::POST, &path, &window).await?;
    eprintln!("{agent}: on record; it counts for silence that begins after the machine's next quote");
    show::status(agent, &site.status(agent).await?, json.json)
}

fn agent_path(agent: &AgentId) -> String {
    format!("/v2.6/agents/{agent}")
}
