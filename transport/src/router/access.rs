//! Who a caller is, and which callers a route admits.

use std::sync::Arc;

use openssl::nid::Nid;
use openssl::x509::X509Ref;

/// What the authority that issued a caller's certificate lets it be.
///
/// Read from the organisational unit (OU) of the certificate's subject; see [`Role::from_ou`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// An operator: may change and read everything a route with [`Access::ADMIN`] offers.
    Admin,
    /// Reads what is offered to readers, changes nothing.
    Auditor,
    /// Another of our servers, such as a verifier that appends to the ledger.
    Service,
}

impl Role {
    /// The OU that makes a certificate's holder this role; `None` for [`Role::Admin`], which is
    /// what every certificate without an OU of ours is.
    pub const fn ou(self) -> Option<&'static str> {
        match self {
            Self::Admin => None,
            Self::Auditor => Some("attestry-auditor"),
            Self::Service => Some("attestry-service"),
        }
    }

    /// The role that one OU names; `None` when it is in our namespace (`attestry-`) but unknown.
    ///
    /// Anything outside that namespace is an admin, as Keylime clients expect of a certificate
    /// issued by the client authority.
    pub fn from_ou(ou: &str) -> Option<Self> {
        match ou {
            "attestry-auditor" => Some(Self::Auditor),
            "attestry-service" => Some(Self::Service),
            other if other.starts_with("attestry-") => None,
            _ => Some(Self::Admin),
        }
    }
}

/// Who made a request, as far as its connection proves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Peer {
    /// Showed no certificate, or used a listener that asks for none.
    Anonymous,
    /// Holds the key of a certificate that chains to the client authority.
    Certified {
        /// The subject's only common name (CN): printable, not empty.
        common_name: Arc<str>,
        /// What the certificate lets it be.
        role: Role,
    },
    /// Holds the key of a certificate that chains, but whose subject gives it no role.
    Unentitled {
        /// What is wrong with the subject.
        flaw: SubjectFlaw,
    },
}

/// Why a certificate that chains still gives no role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubjectFlaw {
    /// Not exactly one common name, or one that is empty or has control characters.
    CommonName,
    /// An OU that starts with `attestry-` names no role known here, or two OUs name two.
    Role,
}

impl Peer {
    /// Reads the caller from a certificate whose chain has been verified by the handshake.
    pub(crate) fn of_certificate(certificate: &X509Ref) -> Self {
        let Some(common_name) = sole_common_name(certificate) else {
            return Self::Unentitled { flaw: SubjectFlaw::CommonName };
        };
        match role_of(certificate) {
            Some(role) => Self::Certified { common_name, role },
            None => Self::Unentitled { flaw: SubjectFlaw::Role },
        }
    }

    /// The certificate's common name, for records of who did what.
    pub fn common_name(&self) -> Option<&str> {
        match self {
            Self::Certified { common_name, .. } => Some(common_name),
            Self::Anonymous | Self::Unentitled { .. } => None,
        }
    }

    /// The certificate's role.
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Certified { role, .. } => Some(*role),
            Self::Anonymous | Self::Unentitled { .. } => None,
        }
    }
}

fn sole_common_name(certificate: &X509Ref) -> Option<Arc<str>> {
    let mut names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let name = names.next()?.data().to_string().ok()?;
    let fit = !name.is_empty() && !name.chars().any(char::is_control) && names.next().is_none();
    fit.then(|| Arc::from(name.as_str()))
}

/// Every OU must be readable, and those that name one of our roles must agree: a certificate
/// never has more rights for carrying a second OU.
fn role_of(certificate: &X509Ref) -> Option<Role> {
    let mut ours = None;
    for entry in certificate.subject_name().entries_by_nid(Nid::ORGANIZATIONALUNITNAME) {
        let role = Role::from_ou(&entry.data().to_string().ok()?)?;
        if role != Role::Admin && *ours.get_or_insert(role) != role {
            return None;
        }
    }
    Some(ours.unwrap_or(Role::Admin))
}

/// The set of callers a route admits. There is no default: every route names its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    everyone: bool,
    admin: bool,
    auditor: bool,
    service: bool,
}

impl Access {
    /// Operators only.
    pub const ADMIN: Self = Self::roles(&[Role::Admin]);
    /// Everyone, with or without a certificate; the only access open on a plain listener.
    pub const PUBLIC: Self = Self { everyone: true, ..Self::roles(&[]) };
    /// Everyone who may read: operators, auditors and our own servers.
    pub const READER: Self = Self::roles(&[Role::Admin, Role::Auditor, Role::Service]);
    /// Our own servers only.
    pub const SERVICE: Self = Self::roles(&[Role::Service]);

    /// Exactly the `roles` listed; none listed admits nobody.
    pub const fn roles(mut roles: &[Role]) -> Self {
        let mut access = Self { everyone: false, admin: false, auditor: false, service: false };
        while let [role, rest @ ..] = roles {
            match role {
                Role::Admin => access.admin = true,
                Role::Auditor => access.auditor = true,
                Role::Service => access.service = true,
            }
            roles = rest;
        }
        access
    }

    /// Whether `peer` may call a route with this access.
    pub const fn admits(self, peer: &Peer) -> bool {
        if self.everyone {
            return true;
        }
        match peer.role() {
            Some(Role::Admin) => self.admin,
            Some(Role::Auditor) => self.auditor,
            Some(Role::Service) => self.service,
            None => false,
        }
    }

    /// Whether callers need no certificate.
    pub const fn is_public(self) -> bool {
        self.everyone
    }
}
