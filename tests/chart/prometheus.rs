//! A real Prometheus, which scrapes real processes, with the chart's alerts.

use serde_json::{Value, json};

use crate::helm::in_project;
use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_tcp};
use crate::support::lab::Lab;
use crate::support::metrics::get;
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::wait::wait_for;

/// One that runs, on loopback.
pub(crate) struct Prometheus {
    program: Program,
    address: String,
}

impl Prometheus {
    /// Starts it.
    pub(crate) async fn start(lab: &Lab, targets: &[&str]) -> Self {
        let jobs = targets.iter().enumerate().map(|(number, target)| {
            json!({"job_name": number.to_string(), "static_configs": [{"targets": [target]}]})
        });
        let settings = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [in_project("charts/rescind/files/alerts.yaml")],
            "scrape_configs": jobs.collect::<Vec<Value>>(),
        });
        std::fs::write(lab.path("prometheus.yaml"), settings.to_string()).unwrap();
        let folder = lab.path("");
        for _ in 0..10 {
            // It does not say which port it got, so it is told one that was free a moment ago.
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let arguments = [
                "--config.file=prometheus.yaml".to_owned(),
                "--storage.tsdb.path=prometheus".to_owned(),
                format!("--web.listen-address={free}"),
            ];
            let mut program = Program::start("prometheus", &tool("prometheus"), arguments, &folder);
            // It listens before it answers queries.
            let ready = wait_for("Prometheus is ready or has ended", PATIENCE, async || {
                let ready =
                    ask_tcp(&free, &Ask::get("/-/ready")).await.is_ok_and(|reply| reply.status == 200);
                if ready || program.has_ended() { Ok(ready) } else { Err(program.log()) }
            });
            if ready.await && !program.has_ended() {
                return Self { program, address: free };
            }
        }
        panic!("Prometheus finds no port");
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// Asks its API.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        let (status, text) = get(&self.address, path, &[]).await;
        serde_json::from_str(&text).map_err(|error| format!("{status}: {error}: {text}"))
    }

    /// Returns the number of series that a query has found, or what was wrong with it.
    pub(crate) async fn series(&self, query: &str) -> Result<usize, String> {
        let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        match answer["data"]["result"].as_array() {
            Some(found) => Ok(found.len()),
            None => Err(answer["error"].to_string()),
        }
    }
}
