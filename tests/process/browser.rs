//! A browser reaches loopback ports too: pages of others must not.

use rescind::proto::v1;
use rescind::proto::v1::distribution_client::DistributionClient;
use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::runtime::dial;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::support::lab::Lab;
use crate::support::metrics::get;

const TOKEN: &str = "an-admin-token-of-the-test";

#[tokio::test]
async fn probes_refuse_a_foreign_host_and_any_origin() {
    let mut lab = Lab::start().await;
    for health in [lab.controller().address("health").to_owned(), lab.sidecar().address("health").to_owned()]
    {
        assert_eq!(get(&health, "/metrics", &[]).await.0, 200);
        assert_eq!(get(&health, "/livez", &[("host", "localhost")]).await.0, 200);
        assert_eq!(get(&health, "/metrics", &[("host", "evil.example")]).await.0, 403);
        assert_eq!(get(&health, "/metrics", &[("origin", "https://evil.example")]).await.0, 403);
        assert_eq!(get(&health, "/nothing", &[]).await.0, 404);
    }
}

/// Connects to an address under any name.
fn channel(address: &str, authority: &str) -> Channel {
    let origin = format!("http://{authority}").parse().unwrap();
    dial::channel(&format!("http://{address}"), None, |endpoint| endpoint.origin(origin)).unwrap()
}

#[tokio::test]
async fn streams_and_checks_on_tcp_refuse_a_foreign_host_and_any_origin() {
    let mut lab = Lab::new();
    lab.start_controller(&["--listen=127.0.0.1:0"]).await;
    lab.start_sidecar(&["--listen=127.0.0.1:0"]).await;
    let last = |addresses: &str| addresses.split(' ').next_back().unwrap().to_owned();
    let streams = last(lab.controller().address("streams"));
    let checks = last(lab.sidecar().address("grpc"));
    let with = |origin: Option<&'static str>| {
        let value = origin.map(MetadataValue::from_static);
        move |metadata: &mut tonic::metadata::MetadataMap| {
            value.into_iter().for_each(|value| drop(metadata.insert("origin", value)));
        }
    };
    let follow = async |origin: Option<&'static str>, authority: &str| {
        let mut request = Request::new(futures::stream::empty());
        with(origin)(request.metadata_mut());
        let answer = DistributionClient::new(channel(&streams, authority)).follow(request).await;
        // A refusal without a body of gRPC is found when the first message is read.
        answer?.into_inner().message().await.map(drop)
    };
    let check = async |origin: Option<&'static str>, authority: &str| {
        let mut request = Request::new(v1::CheckRequest::default());
        with(origin)(request.metadata_mut());
        RevocationCheckClient::new(channel(&checks, authority)).check(request).await.map(drop)
    };
    for authority in [&streams, "localhost"] {
        assert!(follow(None, authority).await.is_ok() && check(None, authority).await.is_ok(), "{authority}");
    }
    for origin in ["https://evil.example", "http://127.0.0.1", "null"] {
        assert!(follow(Some(origin), &streams).await.is_err(), "{origin}");
        assert!(check(Some(origin), &checks).await.is_err(), "{origin}");
    }
    for authority in ["evil.example", "evil.example:80"] {
        assert!(follow(None, authority).await.is_err(), "{authority}");
        assert!(check(None, authority).await.is_err(), "{authority}");
    }
}

#[tokio::test]
async fn the_admin_api_on_tcp_wants_its_token_and_refuses_a_foreign_host_and_any_origin() {
    let mut lab = Lab::new();
    std::fs::write(lab.path("token"), TOKEN).unwrap();
    let mut arguments = lab.controller_arguments();
    arguments.retain(|argument| !argument.starts_with("--admin"));
    arguments.push("--admin=127.0.0.1:0".to_owned());
    arguments.push(format!("--admin-token-file={}", lab.path("token").display()));
    let controller = lab.start_other(crate::support::lab::Program::Controller, &arguments).await.unwrap();
    let address = controller.address("admin").to_owned();
    lab.controller = Some(controller);
    let call = async |bearer: Option<&str>, origin: Option<&'static str>, authority: &str| {
        let mut request = Request::new(v1::AdminStatusRequest {});
        if let Some(bearer) = bearer {
            let value = MetadataValue::try_from(format!("Bearer {bearer}")).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(origin) = origin {
            request.metadata_mut().insert("origin", MetadataValue::from_static(origin));
        }
        RevocationAdminClient::new(channel(&address, authority))
            .status(request)
            .await
            .map(drop)
            .map_err(|status| status.code())
    };
    assert_eq!(call(Some(TOKEN), None, &address).await, Ok(()));
    assert_eq!(call(None, None, &address).await, Err(tonic::Code::Unauthenticated));
    assert_eq!(
        call(Some("another-token-of-nobody"), None, &address).await,
        Err(tonic::Code::Unauthenticated)
    );
    assert!(call(Some(TOKEN), Some("https://evil.example"), &address).await.is_err());
    assert!(call(Some(TOKEN), None, "evil.example").await.is_err());
}
