//! Reads what a process tells of itself at `/metrics`.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer of the probes: its status and its body.
pub(crate) async fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = http::Request::builder().uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", address);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = async {
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    tokio::select! {
        answer = answer => answer,
        _ = connection => panic!("{address} closed the connection"),
    }
}

/// Returns the sum over the labels of a metric.
pub(crate) async fn metric(address: &str, name: &str) -> f64 {
    metric_where(address, name, &[]).await
}

/// Returns the sum over the labels of a metric where some have a value.
pub(crate) async fn metric_where(address: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let (status, text) = get(address, "/metrics", &[]).await;
    assert_eq!(status, 200);
    let of_name = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']);
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let has_labels = |line: &&str| labels.iter().all(|label| line.contains(label));
    let lines = text.lines().filter(of_name).filter(has_labels);
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum()
}
