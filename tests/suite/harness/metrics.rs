//! What the server says of itself at `/.fleet/metrics`.

/// One reading.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The value of a counter or a gauge, with its labels as they are written; 0 when it is not there.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Whether a metric is rendered, whatever its labels.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.strip_prefix("# TYPE ").is_some_and(|rest| rest.split(' ').next() == Some(name)))
    }

    /// The names of all labels.
    pub(crate) fn labels(&self) -> std::collections::BTreeSet<String> {
        let inside = self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (_, rest) = line.split_once('{')?;
            Some(rest.split_once('}')?.0)
        });
        inside
            .flat_map(|labels| labels.split("\","))
            .filter_map(|label| Some(label.split_once('=')?.0.to_owned()))
            .collect()
    }

    /// Activated objects.
    pub(crate) fn active(&self) -> u64 {
        self.value(r#"fleet_objects{class="agent",state="active"}"#)
    }

    /// Objects whose sockets alone are held.
    pub(crate) fn asleep(&self) -> u64 {
        self.value(r#"fleet_objects{class="agent",state="asleep"}"#)
    }

    /// Open sockets.
    pub(crate) fn sockets(&self) -> u64 {
        self.value(r#"fleet_websockets{class="agent"}"#)
    }

    pub(crate) fn activations(&self) -> u64 {
        self.value("fleet_activations_total")
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.value("fleet_evictions_total")
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
