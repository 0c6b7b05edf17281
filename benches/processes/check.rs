//! A check over gRPC on a Unix socket, beside an echo on a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use prost::Message;
use rescind::proto::envoy::service::auth::v3 as envoy;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::proto::v1::{CheckClaimsRequest, CheckRequest, CheckResponse, Decision};
use rescind::runtime::dial;
use tokio::runtime::{Builder, Runtime};

use crate::lab::{Lab, Verifier, peer};
use crate::lean::Grpc;
use crate::peers::{ECHO, NO_OP};
use crate::sample;
use crate::table::Row;
use crate::times::{Times, row};

const ENTRIES: u64 = 100_000;
/// Everything takes turns, so that what else the machine does hits all alike.
const ROUNDS: usize = 30;
const PER_ROUND: usize = 200;

pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::start(runtime, Verifier::Sidecar, ENTRIES)?;
    let _sidecar = lab.sidecar()?;
    let _echo = peer(runtime, ECHO, &lab.path("echo.sock"))?;
    let _no_op = peer(runtime, NO_OP, &lab.path("no-op.sock"))?;
    let by_claims = CheckClaimsRequest {
        claims: sample::claims("alice").to_string().into(),
        options: None,
        key_id: "k1".to_owned(),
    };
    let by_token = CheckRequest { token: lab.token("alice")?, options: None, source: String::new() };

    let mut echo = UnixStream::connect(lab.path("echo.sock"))?;
    let mut no_op = Grpc::connect(&lab.path("no-op.sock"), "/envoy.service.auth.v3.Authorization/Check")?;
    let nothing = envoy::CheckRequest::default();
    let mut claims = Grpc::connect(&lab.path("claims.sock"), "/rescind.v1.ClaimsCheck/CheckClaims")?;
    let mut token = Grpc::connect(&lab.path("check.sock"), "/rescind.v1.RevocationCheck/Check")?;
    let single = Builder::new_current_thread().enable_all().build()?;
    let uri = format!("unix:{}", lab.path("check.sock").display());
    let mut tonic = single
        .block_on(async { dial::channel(&uri, None, |endpoint| endpoint).map(RevocationCheckClient::new) })?;

    let mut times: [Times; 5] = Default::default();
    for round in 0..=ROUNDS {
        if round == 1 {
            // The first round only warms up.
            times = Default::default();
        }
        let [echoed, nothing_done, claimed, lean, with_tonic] = &mut times;
        let message = by_claims.encode_to_vec();
        let mut back = vec![0; message.len()];
        for _ in 0..PER_ROUND {
            echoed.measure(|| {
                echo.write_all(&message)?;
                Ok(echo.read_exact(&mut back)?)
            })?;
        }
        for _ in 0..PER_ROUND {
            nothing_done.measure(|| no_op.call(&nothing).map(drop))?;
        }
        for _ in 0..PER_ROUND {
            claimed.measure(|| allowed(&CheckResponse::decode(&claims.call(&by_claims)?[..])?))?;
        }
        for _ in 0..PER_ROUND {
            lean.measure(|| allowed(&CheckResponse::decode(&token.call(&by_token)?[..])?))?;
        }
        for _ in 0..PER_ROUND {
            let call = tonic.check(by_token.clone());
            with_tonic.measure(|| allowed(&single.block_on(call)?.into_inner()))?;
        }
    }
    let [echoed, nothing_done, claimed, lean, with_tonic] = &times;
    let entries = "100k entries";
    Ok(vec![
        row(&format!("4: check of claims over gRPC, {entries}, p50 / echo"), 0.5, claimed, echoed, Some(2.5)),
        row("4: the same, p99", 0.99, claimed, echoed, None),
        row("call over gRPC that does nothing (tonic), p50 / echo", 0.5, nothing_done, echoed, None),
        row("check of claims over gRPC, p50 / a call that does nothing", 0.5, claimed, nothing_done, None),
        row("check of a token (verifies ES256) over gRPC, p50 / echo", 0.5, lean, echoed, None),
        row("check of a token with a tonic client, p50 / with a lean client", 0.5, with_tonic, lean, None),
    ])
}

fn allowed(response: &CheckResponse) -> anyhow::Result<()> {
    anyhow::ensure!(response.decision() == Decision::Allow, "{response:?}");
    Ok(())
}
