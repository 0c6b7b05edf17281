//! What the core costs, each figure beside something that was measured in the same run.
//!
//! Time is that of the thread, not of the wall: on a machine that others use too, waiting for a core is not the
//! core's cost. What others do to the caches remains.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a benchmark ends when something is wrong, prints, and is about the machine's clock"
)]

use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode};
use prost::Message;
use rescind::distribution::view::{ListView, Views};
use rescind::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use rescind::proto::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use rescind::proto::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use rescind::revocation::claims::Claims;
use rescind::revocation::delta::{Delta, Difference, digest_after};
use rescind::revocation::filter::Prefilter;
use rescind::revocation::freshness::Knowledge;
use rescind::revocation::key::{HashKey, Key};
use rescind::revocation::list::{Found, RevocationList};
use rescind::revocation::row::{End, Rows};
use rescind::revocation::snapshot::{Snapshot, digest_of};
use rescind::revocation::time::Moment;
use rescind::revocation::version::{Epoch, Revisions, Version};
use rescind::runtime::clock::{Clock, ManualClock, SystemClock};
use rescind::runtime::gate::Admission;
use rescind::runtime::random::{SeededRandom, bytes};
use rescind::sidecar::answer::{Reveal, Style};
use rescind::sidecar::checker::{Checker, check};
use rescind::sidecar::ext_authz::ExtAuthz;
use rescind::sidecar::outcome::Decision;
use rescind::sidecar::request::{Credential, Request};
use rescind::token::jws::Jws;
use rescind::token::keys::VerifyingKey;
use rescind::token::selection::select;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use table::{Row, nanos};

#[path = "support/machine.rs"]
mod machine;
#[path = "support/sample.rs"]
mod sample;
#[path = "support/table.rs"]
mod table;

/// How many keys a check looks up.
const KEYS: usize = 6;
/// So few that everything they touch stays in the nearest caches.
const HOT_CHECKS: usize = 16;
/// How many checks run after the caches were emptied, each on lines that no other has touched.
const COLD_CHECKS: usize = 64;
/// More than any cache holds.
const SWEEP_BYTES: usize = 96 * 1024 * 1024;

fn main() {
    let started = SystemTime::now();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("core");
    let mut criterion = Criterion::default()
        .with_measurement(ThreadTime)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .output_directory(&home)
        .without_plots()
        .configure_from_args();
    let mut sweep = Sweep::new();
    let million = Held::new(1_000_000);
    lookups(&mut criterion, &million, &mut sweep);
    for held in [Held::new(1_000), Held::new(100_000)] {
        lookups(&mut criterion, &held, &mut sweep);
    }
    checks(&mut criterion, &million.list);
    deltas(&mut criterion, &million);
    snapshots(&mut criterion);
    println!("\n{}\n\n{}", machine::describe(), table::markdown(&rows(&Estimates { home, started })));
}

/// The CPU time of the thread.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Empties the caches by filling them with something else.
struct Sweep(Vec<u64>);

impl Sweep {
    fn new() -> Self {
        Self(vec![1; SWEEP_BYTES / 8])
    }

    fn run(&mut self) {
        self.0.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_mul(3));
        black_box(&self.0);
    }
}

/// A set that hashes nothing, for its keys are hashes.
type Bare = hashbrown::HashSet<u128, BuildHasherDefault<LowBits>>;

#[derive(Default)]
struct LowBits(u64);

impl Hasher for LowBits {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One set of keys, as we hold it and bare, and keys that are not in it.
struct Held {
    entries: Vec<(Key, Rows)>,
    list: RevocationList,
    bare: Bare,
    absent: Vec<Key>,
}

const HASH_KEY: HashKey = HashKey::new([7; 16]);
const ALWAYS: Rows = Rows { always: Some(End::NEVER), issued: None, session_started: None };

fn version(revocations: u64) -> Version {
    Version { epoch: Epoch { counter: 1, id: 1 }, revisions: Revisions { revocations, segments: 0 } }
}

fn random_keys(random: &SeededRandom, count: usize) -> Vec<Key> {
    (0..count).map(|_| Key::from_bytes(bytes(random))).collect()
}

fn snapshot_of(entries: Vec<(Key, Rows)>) -> Snapshot {
    let filter = Prefilter::build(&HASH_KEY, entries.iter().map(|(key, _)| *key)).to_bytes();
    Snapshot { version: version(1), digest: digest_of(&HASH_KEY, &entries), entries, filter }
}

impl Held {
    fn new(count: usize) -> Self {
        let random = SeededRandom::new(count as u64);
        let mut entries: Vec<_> = random_keys(&random, count).into_iter().map(|key| (key, ALWAYS)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let bare = entries.iter().map(|(key, _)| u128::from_le_bytes(key.to_bytes())).collect();
        let list = RevocationList::from_snapshot(HASH_KEY, &snapshot_of(entries.clone())).unwrap();
        Self { entries, list, bare, absent: random_keys(&random, 60_000) }
    }

    fn name(&self) -> String {
        format!("{}k", self.entries.len() / 1000)
    }
}

/// Measures a lookup of keys that are not in the set: a check that passes consists of nothing else.
fn lookups(criterion: &mut Criterion<ThreadTime>, held: &Held, sweep: &mut Sweep) {
    let Held { list, bare, absent, .. } = held;
    let mut group = criterion.benchmark_group(format!("lookup-{}", held.name()));
    group.sampling_mode(SamplingMode::Flat);
    lookup(&mut group, "list", absent, sweep, |key| matches!(list.find(key), Found::Rows(_)));
    lookup(&mut group, "exact", absent, sweep, |key| list.exact(key).is_some());
    lookup(&mut group, "bare", absent, sweep, |key| bare.contains(&u128::from_le_bytes(key.to_bytes())));
    let filter = Prefilter::build(&HASH_KEY, held.entries.iter().map(|(key, _)| *key));
    lookup(&mut group, "filter", absent, sweep, |key| filter.may_contain(key));
    group.finish();
}

fn lookup(
    group: &mut BenchmarkGroup<'_, ThreadTime>,
    name: &str,
    absent: &[Key],
    sweep: &mut Sweep,
    found: impl Fn(Key) -> bool,
) {
    let check = |keys: &[Key]| keys.iter().filter(|key| found(black_box(**key))).count();
    let mut hot = absent.chunks_exact(KEYS).take(HOT_CHECKS).cycle();
    group.bench_function(format!("{name}-hot"), |bencher| {
        bencher.iter(|| check(hot.next().unwrap_or_default()));
    });
    let mut cold = absent.chunks_exact(KEYS * COLD_CHECKS).cycle();
    group.bench_function(format!("{name}-cold"), |bencher| {
        let setup = || {
            sweep.run();
            cold.next().unwrap_or_default()
        };
        bencher.iter_batched(setup, check, BatchSize::PerIteration);
    });
}

/// Measures the revocation part of a check beside the verification of the token's signature.
fn checks(criterion: &mut Criterion<ThreadTime>, list: &RevocationList) {
    let issuer = sample::issuer();
    let document = sample::declare(&json!({"keys": [sample::jwk(&issuer)]}));
    let config = document.config().unwrap();
    let now = SystemClock.now();
    let view = ListView {
        config: Some(Arc::new(config.clone())),
        generation: 1,
        list: Some(Arc::new(list.clone())),
        knowledge: Knowledge::FreshAsOf(now),
        proven: Some(list.version()),
        ..ListView::empty(config.name.clone())
    };
    let views = [Arc::new(view)];
    let claims: Vec<_> = (0..256).map(|number| sample::claims(&format!("{number}"))).collect();
    let tokens: Vec<String> = claims.iter().map(|claims| issuer.sign(claims).unwrap()).collect();
    let parsed: Vec<Claims> =
        claims.iter().map(|claims| Claims::parse(claims.to_string().as_bytes()).unwrap()).collect();
    let key = VerifyingKey::from_jwk(&issuer.jwk()).unwrap();
    let mut group = criterion.benchmark_group("check");
    group.sampling_mode(SamplingMode::Flat);

    let mut next = parsed.iter().cycle();
    group.bench_function("claims", |bencher| {
        bencher.iter(|| {
            let claims = next.next().ok_or(rescind::token::rejection::Rejection::Malformed);
            ask(&views, Credential::Claims { claims, key_id: Some("k1") }, now);
        });
    });
    let mut next = parsed.iter().cycle();
    let declared = config.issuer(sample::ISSUER).unwrap();
    group.bench_function("keys-and-lookup", |bencher| {
        bencher.iter(|| {
            let selected = select(&config, declared, next.next().unwrap(), Some(&key), &HASH_KEY).unwrap();
            selected.iter().filter(|selected| matches!(list.find(selected.key), Found::Rows(_))).count()
        });
    });
    let jws: Vec<Jws<'_>> = tokens.iter().map(|token| Jws::parse(token).unwrap()).collect();
    let mut next = jws.iter().cycle();
    group.bench_function("es256-verify", |bencher| {
        bencher.iter(|| {
            let jws = next.next().unwrap();
            assert!(key.verifies(jws.signed, &jws.signature));
        });
    });
    let mut next = tokens.iter().cycle();
    group.bench_function("token", |bencher| {
        bencher.iter(|| ask(&views, Credential::Token { token: next.next().unwrap(), source: "" }, now));
    });
    group.finish();
    ext_authz(criterion, &views, &tokens, now);
}

/// Measures a question of Envoy's from its bytes to those of the answer, without the wire.
fn ext_authz(criterion: &mut Criterion<ThreadTime>, views: &[Arc<ListView>], tokens: &[String], now: Moment) {
    let published = Views::new(&[views[0].name.clone()]);
    published.publish(0, (*views[0]).clone());
    let checker = Checker::new(published, Arc::new(ManualClock::new(now)), Arc::new(()));
    let service = ExtAuthz::new(checker, Style::new("rescind", Reveal::Nothing, 1));
    let questions: Vec<Vec<u8>> = tokens.iter().map(|token| question(token).encode_to_vec()).collect();
    let mut next = questions.iter().cycle();
    let mut group = criterion.benchmark_group("check");
    group.bench_function("ext-authz", |bencher| {
        bencher.iter(|| {
            let question = CheckRequest::decode(&next.next().unwrap()[..]).unwrap();
            service.answer(&question.attributes.unwrap_or_default(), Admission::Granted).encode_to_vec()
        });
    });
    group.finish();
}

fn question(token: &str) -> CheckRequest {
    let authorization = format!("Bearer {token}");
    let lines = [
        (":authority", "localhost"),
        (":path", "/orders"),
        (":method", "GET"),
        (":scheme", "http"),
        ("authorization", &authorization),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "0b4d6f0a-3a5b-4b0e-9f0e-6d4b5e3f2a10"),
    ];
    let line = |(key, value): (&str, &str)| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec(),
    };
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: "/orders".to_owned(),
        header_map: Some(HeaderMap { headers: lines.into_iter().map(line).collect() }),
        ..HttpRequest::default()
    };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    CheckRequest { attributes: Some(AttributeContext { request: Some(request), ..Default::default() }) }
}

fn ask(views: &[Arc<ListView>], credential: Credential<'_>, now: Moment) {
    let outcome = check(views, &Request::new(credential), now);
    assert_eq!(outcome.decision, Decision::Allow, "{outcome:?}");
}

/// Makes the next delta of a list.
fn delta(list: &RevocationList, random: &SeededRandom, changes: usize) -> Delta {
    let mut difference = Difference::default();
    random_keys(random, changes).into_iter().for_each(|key| difference.put(key, ALWAYS));
    let digest = digest_after(list.digest(), &HASH_KEY, &difference, |key| list.exact(key));
    let (from, to) = (list.version(), version(list.version().revisions.revocations + 1));
    Delta { from, to, difference, digest }
}

/// Measures deltas, on a list that has just been merged and on one whose overlay is half full.
fn deltas(criterion: &mut Criterion<ThreadTime>, million: &Held) {
    let random = SeededRandom::new(3);
    let small = Held::new(100_000);
    let mut group = criterion.benchmark_group("delta");
    for (held, overlay) in [(&small, 0), (&small, 6_000), (million, 0), (million, 60_000)] {
        let list = if overlay == 0 {
            held.list.clone()
        } else {
            held.list.apply(&delta(&held.list, &random, overlay)).unwrap()
        };
        for changes in [1, 1000] {
            let delta = delta(&list, &random, changes);
            let name = format!("{changes}-on-{}-overlay-{overlay}", held.name());
            group.bench_function(name, |bencher| bencher.iter(|| list.apply(&delta).unwrap()));
        }
    }
    group.finish();
}

/// Measures what a whole list costs at 100k entries, beside a copy into a bare map.
fn snapshots(criterion: &mut Criterion<ThreadTime>) {
    let held = Held::new(100_000);
    let snapshot = snapshot_of(held.entries.clone());
    let mut group = criterion.benchmark_group("snapshot-100k");
    group.sample_size(10);
    group.bench_function("build", |bencher| bencher.iter(|| held.list.snapshot()));
    group.bench_function("take", |bencher| {
        bencher.iter(|| RevocationList::from_snapshot(HASH_KEY, &snapshot).unwrap());
    });
    group.bench_function("bare", |bencher| {
        let keys = || held.entries.iter().map(|(key, _)| u128::from_le_bytes(key.to_bytes()));
        bencher.iter(|| keys().collect::<Bare>());
    });
    group.finish();
}

/// The medians that this run has measured.
struct Estimates {
    home: PathBuf,
    started: SystemTime,
}

impl Estimates {
    /// Returns the median in nanoseconds; none if this run left it out.
    fn median(&self, group: &str, name: &str) -> Option<f64> {
        let path = self.home.join(group).join(name).join("new/estimates.json");
        let is_old = std::fs::metadata(&path).ok()?.modified().ok()? < self.started;
        let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64().filter(|_| !is_old)
    }

    /// Makes a row of two medians, each a group and a name, divided by what one run of them does.
    fn row(&self, what: &str, ours: [&str; 2], beside: [&str; 2], per: usize, aim: Option<f64>) -> Row {
        let median = |[group, name]: [&str; 2]| self.median(group, name).map(|nanos| nanos / per as f64);
        let (a, b) = (median(ours), median(beside));
        let shown = |value: Option<f64>, [_, name]: [&str; 2]| {
            value.map_or_else(|| "not measured".to_owned(), |value| format!("{} ({name})", nanos(value)))
        };
        Row {
            what: what.to_owned(),
            ours: shown(a, ours),
            beside: shown(b, beside),
            ratio: a.zip(b).map(|(a, b)| a / b),
            aim,
        }
    }
}

#[allow(clippy::too_many_lines, reason = "a table, row by row")]
fn rows(estimates: &Estimates) -> Vec<Row> {
    let cold = COLD_CHECKS;
    let million = "lookup-1000k";
    let mut rows = vec![
        estimates.row(
            "1: check of 6 keys, 1M entries, hot / bare hashbrown set",
            [million, "list-hot"],
            [million, "bare-hot"],
            1,
            Some(0.7),
        ),
        estimates.row("1: the same, cold", [million, "list-cold"], [million, "bare-cold"], cold, Some(1.0)),
        estimates.row(
            "3: whole revocation check of claims, 1M entries / ES256 verify",
            ["check", "claims"],
            ["check", "es256-verify"],
            1,
            Some(0.01),
        ),
        estimates.row(
            "3: of it, hashing of keys and lookups / ES256 verify",
            ["check", "keys-and-lookup"],
            ["check", "es256-verify"],
            1,
            None,
        ),
        estimates.row(
            "whole check of a token / ES256 verify",
            ["check", "token"],
            ["check", "es256-verify"],
            1,
            None,
        ),
    ];
    rows.push(estimates.row(
        "answer to a question of Envoy's, without the wire / ES256 verify",
        ["check", "ext-authz"],
        ["check", "es256-verify"],
        1,
        None,
    ));
    for size in ["1k", "100k", "1000k"] {
        let group = format!("lookup-{size}");
        for (heat, per) in [("hot", 1), ("cold", cold)] {
            let [list, exact, filter] = ["list", "exact", "filter"].map(|name| format!("{name}-{heat}"));
            let what = format!(
                "filter: 6 negative lookups, {size} entries, {heat}: as the list does it / exact only"
            );
            rows.push(estimates.row(&what, [&group, &list], [&group, &exact], per, None));
            let what = format!("filter: the same, {size}, {heat}: the filter alone / exact only");
            rows.push(estimates.row(&what, [&group, &filter], [&group, &exact], per, None));
        }
    }
    for (size, overlay) in [("100k", 6_000), ("1000k", 60_000)] {
        for changes in [1, 1000] {
            let [full, empty] = [overlay, 0].map(|overlay| format!("{changes}-on-{size}-overlay-{overlay}"));
            let what = format!("delta of {changes}, {size} entries: overlay half full / empty");
            rows.push(estimates.row(&what, ["delta", &full], ["delta", &empty], 1, None));
        }
    }
    let group = "snapshot-100k";
    rows.push(estimates.row(
        "snapshot of 100k: build / fill a bare set",
        [group, "build"],
        [group, "bare"],
        1,
        None,
    ));
    rows.push(estimates.row(
        "snapshot of 100k: check and take / fill a bare set",
        [group, "take"],
        [group, "bare"],
        1,
        None,
    ));
    rows
}
