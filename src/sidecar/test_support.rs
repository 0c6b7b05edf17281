//! A small world for the tests of the check paths: an issuer, lists in any state, and requests.

use std::sync::{Arc, LazyLock, Mutex};

use serde_json::{Value, json};

use crate::distribution::view::{ListView, Views};
use crate::revocation::filter::Prefilter;
use crate::revocation::freshness::{Bounds, Knowledge, Policy};
use crate::revocation::key::HashKey;
use crate::revocation::list::RevocationList;
use crate::revocation::list::tests::version;
use crate::revocation::row::{End, Rows};
use crate::revocation::selector::{Selection, Target};
use crate::revocation::snapshot::{Snapshot, digest_of};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::runtime::clock::ManualClock;
use crate::runtime::gate::Admission;
use crate::token::issuer::Issuer;
use crate::token::keys::{Algorithm, VerifyingKey};
use crate::token::list_config::{
    Enforcement, IssuerConfig, ListConfig, Place, TokenKind, TokenSource, Verification, WhenRefused,
};
use crate::token::rules::tests::issuer_config;

use super::checker::Checker;
use super::outcome::{Observer, Outcome, Transport};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: Moment = Moment { boot_nanos: 5_000 * SECOND, wall_nanos: 1_000_000 * SECOND };
pub(crate) const ISSUER: &str = "https://id.example.com";

/// The issuer of all lists, with a key `k1`.
pub(crate) static IDP: LazyLock<Issuer> =
    LazyLock::new(|| Issuer::generate(ISSUER, "k1", Algorithm::Es256).unwrap());

/// An issuer that bears the same name and has another key.
pub(crate) static FORGER: LazyLock<Issuer> =
    LazyLock::new(|| Issuer::generate(ISSUER, "k1", Algorithm::Es256).unwrap());

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "jti": "t1", "sid": "s1", "client_id": "web",
        "aud": "shop", "iat": 999_900, "exp": 1_000_200,
    })
}

/// The claims with some members replaced; null takes one away.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        let claims = claims.as_object_mut().unwrap();
        if value.is_null() {
            claims.remove(name)
        } else {
            claims.insert(name.clone(), value.clone())
        };
    }
    claims
}

pub(crate) fn token() -> String {
    IDP.sign(&claims()).unwrap()
}

pub(crate) fn token_with(changes: Value) -> String {
    IDP.sign(&claims_with(changes)).unwrap()
}

/// The declaration of the issuer with its key.
pub(crate) fn issuer() -> IssuerConfig {
    let key = VerifyingKey::from_jwk(&IDP.jwk()).unwrap();
    IssuerConfig { verification: Verification::Keys(vec![key]), ..issuer_config() }
}

pub(crate) fn source(place: Place, kind: TokenKind) -> TokenSource {
    TokenSource { place, kind, when_refused: WhenRefused::Keep }
}

pub(crate) fn cookie(name: &str) -> Place {
    Place::Cookie(name.to_owned())
}

pub(crate) fn opaque() -> TokenKind {
    TokenKind::Opaque { issuer: ISSUER.to_owned() }
}

/// A list with the issuer, a bearer source, a cookie that is cleared when refused, and an opaque cookie.
pub(crate) fn config(name: &str) -> ListConfig {
    ListConfig {
        name: name.parse().unwrap(),
        issuers: vec![issuer()],
        selectors: Vec::new(),
        freshness: Bounds::default(),
        enforcement: Enforcement::Enforce,
        sources: vec![
            source(Place::AuthorizationBearer, TokenKind::Jwt),
            TokenSource {
                when_refused: WhenRefused::Clear,
                ..source(cookie("access_token"), TokenKind::Jwt)
            },
            source(cookie("session"), opaque()),
        ],
    }
}

pub(crate) fn shadow(name: &str) -> ListConfig {
    ListConfig { enforcement: Enforcement::Shadow, ..config(name) }
}

pub(crate) fn best_effort(name: &str) -> ListConfig {
    let freshness = Bounds { policy: Policy::BestEffort, ..Bounds::default() };
    ListConfig { freshness, ..config(name) }
}

pub(crate) fn always() -> Rows {
    Rows { always: Some(End::NEVER), ..Rows::default() }
}

pub(crate) fn issued_until(seconds: u64) -> Rows {
    Rows { issued: Some(UnixSeconds::new(seconds).unwrap()), ..Rows::default() }
}

pub(crate) fn target(selection: Selection) -> Target {
    Target { issuer: ISSUER.to_owned(), selection }
}

pub(crate) fn alice() -> Target {
    target(Selection::Subject("alice".to_owned()))
}

/// A list with rows under a hash key.
pub(crate) fn list_under(hash_key: HashKey, rows: &[(Target, Rows)]) -> RevocationList {
    let mut entries: Vec<_> =
        rows.iter().map(|(target, rows)| (hash_key.target_key(target), *rows)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let filter = Prefilter::build(&hash_key, entries.iter().map(|(key, _)| *key)).to_bytes();
    let snapshot = Snapshot { version: version(7), digest: digest_of(&hash_key, &entries), entries, filter };
    RevocationList::from_snapshot(hash_key, &snapshot).unwrap()
}

/// The states of freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Fresh,
    Stale,
    Expired,
    NeverFresh,
    Corrupt,
}

impl State {
    pub(crate) const ALL: [Self; 5] =
        [Self::Fresh, Self::Stale, Self::Expired, Self::NeverFresh, Self::Corrupt];

    pub(crate) fn knowledge(self) -> Knowledge {
        let ago = |seconds: u64| {
            Knowledge::FreshAsOf(Moment {
                boot_nanos: NOW.boot_nanos - seconds * SECOND,
                wall_nanos: NOW.wall_nanos - seconds * SECOND,
            })
        };
        match self {
            Self::Fresh => ago(2),
            Self::Stale => ago(100),
            Self::Expired => ago(400),
            Self::NeverFresh => Knowledge::NeverProven,
            Self::Corrupt => Knowledge::Corrupt,
        }
    }
}

/// The view of a list in a state, with rows.
pub(crate) fn view(config: ListConfig, state: State, rows: &[(Target, Rows)]) -> ListView {
    let proven = !matches!(state, State::NeverFresh | State::Corrupt);
    // Every list has a hash key of its own.
    let hash_key = HashKey::new([u8::try_from(config.name.to_string().len()).unwrap(); 16]);
    ListView {
        generation: 1,
        list: Some(Arc::new(list_under(hash_key, rows))),
        knowledge: state.knowledge(),
        proven: proven.then(|| version(9)),
        config: Some(Arc::new(config.clone())),
        ..ListView::empty(config.name)
    }
}

/// A fresh list `shop` with rows.
pub(crate) fn shop(rows: &[(Target, Rows)]) -> ListView {
    view(config("shop"), State::Fresh, rows)
}

/// Keeps what it sees.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) Mutex<Vec<(Transport, Outcome)>>);

impl Observer for Seen {
    fn checked(&self, transport: Transport, outcome: &Outcome) {
        self.0.lock().unwrap().push((transport, outcome.clone()));
    }
}

/// A checker over views at the fixed moment, and what its observer sees.
pub(crate) fn checker(views: &[ListView]) -> (Checker, Arc<Seen>) {
    let names: Vec<_> = views.iter().map(|view| view.name.clone()).collect();
    let published = Views::new(&names);
    views.iter().enumerate().for_each(|(index, view)| published.publish(index, view.clone()));
    let seen = Arc::new(Seen::default());
    let observer: Arc<dyn Observer> = seen.clone();
    (Checker::new(published, Arc::new(ManualClock::new(NOW)), observer), seen)
}

/// A call that the gate has told this.
pub(crate) fn call<T>(message: T, admission: Admission) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(admission);
    request
}

/// A call that is taken on.
pub(crate) fn granted<T>(message: T) -> tonic::Request<T> {
    call(message, Admission::Granted)
}
