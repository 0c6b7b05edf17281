//! The application's own answers are not taken for the sidecar's.

use serde_json::json;

use crate::fronts::{Fronts, Proxy, is_of_application};
use crate::support::http1::Ask;
use crate::support::lab::Lab;

#[tokio::test]
async fn the_applications_own_refusals_and_errors_stay_as_they_are() {
    let fronts = Fronts::start(Lab::start().await).await;
    let token = fronts.lab.keys.token(&json!({}));
    for proxy in Proxy::ALL {
        for status in [400, 401, 403, 404, 500, 503] {
            let ask = Ask::get(&format!("/status/{status}")).bearer(&token);
            let reply = fronts.ask(proxy, &ask).await;
            let what = format!("{proxy:?} {status}: {reply:?}");
            assert_eq!((reply.status, is_of_application(&reply)), (status, true), "{what}");
            assert_eq!(reply.all("retry-after"), Vec::<&str>::new(), "{what}");
        }
    }
}
