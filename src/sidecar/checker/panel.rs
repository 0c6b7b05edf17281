//! The lists that a check asks, with what each can vouch for at this moment.

use std::borrow::Cow;
use std::sync::Arc;

use crate::distribution::view::ListView;
use crate::revocation::freshness::{ClockJump, Freshness, Knowledge, freshness};
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::verdict::{Assurance, Doubt, vouch};
use crate::revocation::version::{Revisions, Version};
use crate::sidecar::outcome::Why;
use crate::sidecar::request::Request;
use crate::token::list_config::{Enforcement, ListConfig, TokenSource, WhenRefused};
use crate::token::rules::Now;

/// Whether a finding refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    /// It is computed and counted.
    Shadow,
    /// It does.
    Enforced,
}

/// One list that is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) view: &'a ListView,
    pub(super) config: Option<&'a ListConfig>,
    pub(super) freshness: Freshness,
    /// Why it is not fresh, if a clock has jumped since its proof.
    pub(super) clock_jump: Option<ClockJump>,
    pub(super) standing: Result<Assurance, Why>,
    pub(super) force: Force,
}

/// The lists that are asked.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    pub(super) lists: Vec<Asked<'a>>,
}

/// Where the lists expect tokens.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// All places; those of lists that are enforced come first.
    pub(super) all: Cow<'a, [TokenSource]>,
    /// How many of them lists that are enforced declare.
    pub(super) enforced: usize,
    /// Two lists that differ about one place.
    pub(super) conflict: Option<Conflict<'a>>,
}

/// Two lists that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict<'a> {
    /// Whether it refuses.
    pub(super) force: Force,
    pub(super) lists: [&'a ListName; 2],
}

impl<'a> Panel<'a> {
    /// Takes the lists that the policy names, or all; none if it names one that is not followed.
    pub(super) fn new(views: &'a [Arc<ListView>], request: &Request<'_>, now: Moment) -> Option<Self> {
        let names = &request.policy.lists;
        if !names.iter().all(|name| views.iter().any(|view| view.name == *name)) {
            return None;
        }
        let asked = views.iter().filter(|view| names.is_empty() || names.contains(&view.name));
        Some(Self { lists: asked.map(|view| Asked::new(view, request, now)).collect() })
    }

    /// Returns whether what the lists say together refuses: it does if one of them is enforced. No list at all
    /// is no reason to let anything pass.
    pub(super) fn force(&self) -> Force {
        self.lists.iter().map(|asked| asked.force).max().unwrap_or(Force::Enforced)
    }

    /// Returns the doubt of a list that has never had a declaration: nobody knows what it would have declared.
    pub(super) fn undeclared(&self) -> Option<Why> {
        match self.lists.iter().find(|asked| asked.config.is_none()) {
            Some(asked) => Some(asked.standing.err().unwrap_or(Why::List(Doubt::NeverFresh))),
            None => self.lists.is_empty().then_some(Why::List(Doubt::NeverFresh)),
        }
    }

    pub(super) fn configs(&self) -> impl Iterator<Item = (&Asked<'a>, &'a ListConfig)> + use<'_, 'a> {
        self.lists.iter().filter_map(|asked| Some((asked, asked.config?)))
    }

    /// Returns the age of the oldest proof; none while a list has none.
    pub(super) fn age_nanos(&self) -> Option<u64> {
        let ages = self.lists.iter().map(|asked| asked.freshness.age_nanos());
        ages.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// Returns a version that every list is proven up to; none if there is none.
    pub(super) fn version(&self) -> Option<Version> {
        let proven = self.lists.iter().map(|asked| asked.view.proven);
        proven.reduce(|a, b| lower(a?, b?)).flatten()
    }

    /// Unites the sources of all lists.
    pub(super) fn sources(&self) -> Sources<'a> {
        if let [asked] = self.lists.as_slice() {
            let all: &'a [TokenSource] = asked.config.map_or(&[], |config| config.sources.as_slice());
            let enforced = if asked.force == Force::Enforced { all.len() } else { 0 };
            return Sources { all: Cow::Borrowed(all), enforced, conflict: None };
        }
        let mut all: Vec<TokenSource> = Vec::new();
        let mut first: Vec<&'a ListName> = Vec::new();
        let mut conflict = None;
        let mut enforced = 0;
        for force in [Force::Enforced, Force::Shadow] {
            let declared = self.configs().filter(|(asked, _)| asked.force == force);
            let sources = declared.flat_map(|(_, config)| config.sources.iter().map(|of| (&config.name, of)));
            for (name, source) in sources {
                let known = all.iter_mut().zip(&first).find(|(known, _)| known.place == source.place);
                match known {
                    // Those that are enforced come first, and a conflict among them counts for more.
                    Some((known, first)) if known.kind != source.kind => {
                        conflict.get_or_insert(Conflict { force, lists: [*first, name] });
                    }
                    Some((known, _))
                        if force == Force::Enforced && source.when_refused == WhenRefused::Clear =>
                    {
                        known.when_refused = WhenRefused::Clear;
                    }
                    Some(_) => {}
                    None => {
                        all.push(source.clone());
                        first.push(name);
                    }
                }
            }
            if force == Force::Enforced {
                enforced = all.len();
            }
        }
        Sources { all: Cow::Owned(all), enforced, conflict }
    }
}

impl<'a> Asked<'a> {
    fn new(view: &'a ListView, request: &Request<'_>, now: Moment) -> Self {
        let config = view.config.as_deref();
        // A proof without what it proves vouches for nothing.
        let complete = view.list.is_some() && config.is_some();
        let knowledge = match view.knowledge {
            Knowledge::FreshAsOf(_) if !complete => Knowledge::NeverProven,
            known @ (Knowledge::NeverProven | Knowledge::Corrupt | Knowledge::FreshAsOf(_)) => known,
        };
        let bounds = view.bounds();
        let asked = request.policy.max_age_milliseconds.map(|age| age.saturating_mul(1_000_000));
        let freshness = freshness(knowledge, now, &bounds, asked);
        let clock_jump = match knowledge {
            Knowledge::FreshAsOf(_) if matches!(freshness, Freshness::Fresh { .. }) => None,
            Knowledge::FreshAsOf(proven) => ClockJump::between(proven, now),
            Knowledge::NeverProven | Knowledge::Corrupt => None,
        };
        // What was applied counts too: changes come in the order of the log, so with one all before it are there. A
        // caller that was told "enforced" is not sent away until the next proof.
        let reached = view.proven.into_iter().chain(view.list.as_ref().map(|list| list.version()));
        let reached: Vec<Version> = reached.collect();
        let behind = request.min_version.filter(|min| !reached.iter().any(|at| min.reached_by(at)));
        let standing = match (vouch(freshness, bounds.policy), behind) {
            (Err(doubt), _) => Err(Why::List(doubt)),
            (Ok(_), Some(_)) => Err(Why::BehindMinVersion),
            (Ok(assurance), None) => Ok(assurance),
        };
        let force = match config.map(|config| config.enforcement) {
            // A declaration from the disk, which has no generation, may be as old as the disk: what it says is good
            // for denials only.
            Some(Enforcement::Shadow) if view.generation > 0 => Force::Shadow,
            Some(Enforcement::Shadow | Enforcement::Enforce) | None => Force::Enforced,
        };
        Self { view, config, freshness, clock_jump, standing, force }
    }
}

/// Returns the time at which tokens are judged. The floor is that of all lists: they are of one log.
pub(super) fn token_time(views: &[Arc<ListView>], now: Moment) -> Now {
    Now { wall: now.wall(), floor: views.iter().filter_map(|view| view.floor()).max() }
}

/// The highest version that is at or below both.
fn lower(a: Version, b: Version) -> Option<Version> {
    if a.epoch == b.epoch {
        let revisions = Revisions {
            revocations: a.revisions.revocations.min(b.revisions.revocations),
            segments: a.revisions.segments.min(b.revisions.segments),
        };
        return Some(Version { epoch: a.epoch, revisions });
    }
    if a < b {
        return Some(a);
    }
    (b < a).then_some(b)
}
