//! A browser reaches loopback ports too: pages of others must not.

use rescind::proto::v1;
use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::runtime::dial;
use tonic::Request;
use tonic::metadata::MetadataValue;

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
        let channel = dial::channel(&format!("http://{address}"), None, |endpoint| {
            endpoint.origin(format!("http://{authority}").parse().unwrap())
        });
        let mut request = Request::new(v1::AdminStatusRequest {});
        if let Some(bearer) = bearer {
            let value = MetadataValue::try_from(format!("Bearer {bearer}")).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(origin) = origin {
            request.metadata_mut().insert("origin", MetadataValue::from_static(origin));
        }
        RevocationAdminClient::new(channel.unwrap())
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
