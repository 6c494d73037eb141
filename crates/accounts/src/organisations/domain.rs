//! The domain of an organisation, and joining by an address in it.
//!
//! A domain is an organisation's if a server administrator says so, or if an owner has a verified
//! address in it. That proves nothing where everybody gets an address, so domains of public mail
//! services are for server administrators alone.

use adea_store::{Space, Transaction};
use serde_json::json;

use super::organisation::store;
use super::read::{enter, find_place};
use super::record::{Domain, DomainProof, Member, Organisation};
use super::role::OrganisationRole;
use super::{Acting, Decided, OrganisationError, agree, membership, person};
use crate::directory::AccountRecord;
use crate::keys;
use crate::names::normal_domain;
use crate::stored::{get, get_text};

/// What the domain of an organisation is to be.
#[derive(Clone, Debug, Default)]
pub struct NewDomain {
    /// Its name, as it was typed.
    pub name: String,
    /// Whether everybody with a verified address in it may join by himself.
    pub join: bool,
    /// The revision of the organisation that this is based on; `None` for whichever is there.
    pub if_revision: Option<u64>,
}

/// Makes a domain an organisation's own, in place of the one it has.
///
/// # Errors
/// [`OrganisationError`] if he may not, the domain is none or another's or was not proved, or
/// somebody was faster.
pub fn set_domain(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &str,
    new: &NewDomain,
) -> Decided<Organisation> {
    let mut organisation = owned(tx, by, organisation)?;
    agree(new.if_revision, organisation.revision)?;
    let none = OrganisationError::Invalid("This is no domain, as example.org is one.");
    let name = normal_domain(new.name.trim()).filter(|name| name.contains('.'));
    let name = name.ok_or(none)?;
    let alias = keys::domain(&name, &organisation.app);
    let proof = match organisation
        .domain
        .as_ref()
        .filter(|known| known.name == name)
    {
        Some(known) => known.proof,
        None => prove(tx, by, &name)?,
    };
    if get_text(tx, &alias)?.is_some_and(|other| other != organisation.id) {
        return Err(OrganisationError::DomainTaken.into());
    }
    give_up(tx, &organisation);
    tx.put(Space::Index, alias, organisation.id.clone().into_bytes());
    organisation.domain = Some(Domain {
        name,
        join: new.join,
        proof,
        since_ms: by.now_ms,
    });
    organisation.revision += 1;
    store(tx, &organisation);
    let (id, app) = (organisation.id.as_str(), organisation.app.as_str());
    let detail = json!({"domain": organisation.domain});
    by.note(tx, "organisation.domain", id, app, detail)?;
    Ok(organisation)
}

/// How he shows that the domain may be his organisation's.
fn prove(tx: &Transaction<'_>, by: &Acting, domain: &str) -> Decided<DomainProof> {
    if by.admin {
        return Ok(DomainProof::Administrator);
    }
    let shared = by
        .limits
        .shared_domains
        .iter()
        .any(|shared| shared == domain);
    let record = person(tx, by, by.account()?)?;
    let mut domains = verified_domains(&record);
    if shared || !domains.any(|own| own == domain) {
        return Err(OrganisationError::DomainUnproved.into());
    }
    Ok(DomainProof::Address)
}

/// The domains of the addresses that an account has verified.
pub(super) fn verified_domains(record: &AccountRecord) -> impl Iterator<Item = &str> {
    let addresses = record.addresses.iter();
    let verified = addresses.filter(|address| address.verified_ms.is_some());
    verified.filter_map(|address| Some(address.normal.rsplit_once('@')?.1))
}

/// Takes the domain from an organisation; whoever joined by it stays.
///
/// # Errors
/// [`OrganisationError`] if he may not, or it has none.
pub fn unset_domain(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &str,
) -> Decided<Organisation> {
    let mut organisation = owned(tx, by, organisation)?;
    if organisation.domain.is_none() {
        return Err(OrganisationError::Missing.into());
    }
    give_up(tx, &organisation);
    organisation.domain = None;
    organisation.revision += 1;
    store(tx, &organisation);
    let (id, app) = (organisation.id.as_str(), organisation.app.as_str());
    by.note(tx, "organisation.domain", id, app, json!({"domain": null}))?;
    Ok(organisation)
}

fn owned(tx: &Transaction<'_>, by: &Acting, organisation: &str) -> Decided<Organisation> {
    let (organisation, standing) = enter(tx, by, organisation)?;
    if !standing.owns_organisation() {
        let reason = "Only its owners may say what the domain of an organisation is.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    Ok(organisation)
}

fn give_up(tx: &mut Transaction<'_>, organisation: &Organisation) {
    if let Some(domain) = &organisation.domain {
        tx.delete(Space::Index, keys::domain(&domain.name, &organisation.app));
    }
}

/// Joins an organisation by a verified address in its domain.
///
/// # Errors
/// [`OrganisationError::Missing`] if he has none or it lets nobody in so; others if there is no room.
pub fn join_by_domain(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &str,
) -> Decided<Member> {
    let account = by.account()?;
    let record = person(tx, by, account)?;
    if !keys::is_id(organisation) {
        return Err(OrganisationError::Missing.into());
    }
    let key = keys::organisation(organisation);
    let found: Option<Organisation> = get(tx, &key, organisation)?;
    let mut organisation = found.ok_or(OrganisationError::Missing)?;
    if find_place(tx, &organisation.id, account)?.is_some() {
        return Err(OrganisationError::AlreadyMember.into());
    }
    let open = organisation.domain.as_ref().filter(|domain| domain.join);
    let may = open.is_some_and(|open| verified_domains(&record).any(|own| own == open.name));
    if !may {
        return Err(OrganisationError::Missing.into());
    }
    membership::admit(tx, by, &mut organisation, account, OrganisationRole::Member)
}
