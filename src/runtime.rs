//! What every process of the product runs on, whatever its purpose: tasks, clocks, listeners, logs, metrics.
//!
//! Nothing below here knows what the product does; the words of the domain stay out.

pub mod admin_http;
pub mod child;
pub mod clock;
pub mod dial;
pub mod environment;
pub mod failing;
pub mod gate;
pub mod grpc_serve;
pub mod host_guard;
pub mod http_serve;
pub mod line_log;
pub mod listen;
pub mod metrics;
pub mod random;
pub mod readiness;
pub mod resolve;
pub mod signals;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
