//! The dashboard for Grafana is what its description says. `UPDATE=1` writes it.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

/// Columns of a dashboard, and rows of a panel.
const COLUMNS: u32 = 24;
const HEIGHT: u32 = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboard {
    panel: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    row: Option<String>,
    title: String,
    about: String,
    unit: String,
    #[serde(default = "third")]
    width: u32,
    max: Option<f64>,
    #[serde(default)]
    is_stacked: bool,
    #[serde(default)]
    lines: Vec<(String, String)>,
    quantiles: Option<String>,
}

fn third() -> u32 {
    8
}

impl Panel {
    /// Legends and expressions.
    fn lines(&self) -> Vec<(String, String)> {
        let Some(histogram) = &self.quantiles else {
            return self.lines.clone();
        };
        let lines = [("p50", "0.5"), ("p99", "0.99")].map(|(name, quantile)| {
            let rate = format!("rate({histogram}_bucket[$__rate_interval])");
            let buckets = format!("sum by (le, instance) ({rate})");
            let expression = format!("histogram_quantile({quantile}, {buckets})");
            (name.to_owned(), expression)
        });
        lines.into()
    }

    fn targets(&self) -> Vec<Value> {
        let lines = self.lines();
        assert!(!lines.is_empty(), "{} shows nothing", self.title);
        let targets = lines.iter().zip('A'..).map(|((legend, expression), id)| {
            json!({
                "refId": id,
                "datasource": source(),
                "expr": of_instance(expression),
                "legendFormat": format!("{legend} {{{{instance}}}}").trim_start(),
                "editorMode": "code",
                "range": true,
            })
        });
        targets.collect()
    }

    /// Limits are dashed and red, and not stacked.
    fn overrides(&self) -> Value {
        let has_limit = self
            .lines
            .iter()
            .any(|(legend, _)| legend.contains("limit"));
        if !has_limit {
            return json!([]);
        }
        let property = |id: &str, value: Value| json!({ "id": id, "value": value });
        json!([{
            "matcher": { "id": "byRegexp", "options": ".*limit.*" },
            "properties": [
                property("custom.lineStyle", json!({ "fill": "dash", "dash": [10, 10] })),
                property("color", json!({ "mode": "fixed", "fixedColor": "red" })),
                property("custom.stacking", json!({ "mode": "none", "group": "A" })),
                property("custom.fillOpacity", json!(0)),
            ],
        }])
    }

    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let mut custom = json!({
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": if self.is_stacked { 20 } else { 0 },
            "showPoints": "never",
            "spanNulls": false,
        });
        if self.is_stacked {
            custom["stacking"] = json!({ "mode": "normal", "group": "A" });
        }
        let mut defaults = json!({ "unit": self.unit, "custom": custom, "min": 0 });
        if let Some(max) = self.max {
            defaults["max"] = json!(max);
        }
        json!({
            "type": "timeseries",
            "id": id,
            "title": self.title,
            "description": self.about,
            "datasource": source(),
            "gridPos": { "h": HEIGHT, "w": self.width, "x": x, "y": y },
            "fieldConfig": { "defaults": defaults, "overrides": self.overrides() },
            "options": {
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
            "targets": self.targets(),
        })
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// An expression with every metric restricted to the chosen instances.
fn of_instance(expression: &str) -> String {
    let mut out = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find("encke_") {
        let name = rest[start..].find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let end = name.map_or(rest.len(), |length| start + length);
        assert!(!rest[end..].starts_with('{'), "{expression}");
        out += &rest[..end];
        out += "{instance=~\"$instance\"}";
        rest = &rest[end..];
    }
    out + rest
}

/// The panels, row by row, from left to right.
fn panels(dashboard: &Dashboard) -> Vec<Value> {
    let (mut x, mut y, mut ids) = (0, 0, 1..);
    let mut next_id = || ids.next().unwrap();
    let mut panels = Vec::new();
    for panel in &dashboard.panel {
        if x + panel.width > COLUMNS || (panel.row.is_some() && x > 0) {
            x = 0;
            y += HEIGHT;
        }
        if let Some(title) = &panel.row {
            panels.push(json!({
                "type": "row",
                "id": next_id(),
                "title": title,
                "collapsed": false,
                "gridPos": { "h": 1, "w": COLUMNS, "x": 0, "y": y },
                "panels": [],
            }));
            y += 1;
        }
        panels.push(panel.json(next_id(), x, y));
        x += panel.width;
    }
    panels
}

fn variables() -> Value {
    let query = "label_values(encke_connections, instance)";
    let mut source_variable = json!({
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    });
    let mut instance = json!({
        "name": "instance",
        "label": "Instance",
        "type": "query",
        "datasource": source(),
        "definition": query,
        "query": { "query": query, "refId": "instances" },
        "refresh": 2,
        "sort": 1,
        "allValue": ".*",
    });
    for (variable, is_multiple) in [(&mut source_variable, false), (&mut instance, true)] {
        variable["hide"] = json!(0);
        variable["includeAll"] = json!(is_multiple);
        variable["multi"] = json!(is_multiple);
        variable["options"] = json!([]);
        variable["current"] = json!({});
    }
    json!([source_variable, instance])
}

/// The file: a line for each panel, so that a change of one is a change of one line.
fn render(dashboard: &Dashboard) -> String {
    let head = json!({
        "title": "encke",
        "uid": "encke",
        "tags": ["encke"],
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 38,
        "version": 1,
        "timezone": "",
        "time": { "from": "now-1h", "to": "now" },
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables() },
    });
    let fields = head.as_object().unwrap().iter();
    let fields = fields.map(|(name, value)| format!("\"{name}\": {value},\n"));
    let panels: Vec<String> = panels(dashboard).iter().map(Value::to_string).collect();
    let (fields, panels) = (fields.collect::<String>(), panels.join(",\n"));
    format!("{{\n{fields}\"panels\": [\n{panels}\n]\n}}\n")
}

#[test]
fn dashboard_is_as_described() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let text = fs::read_to_string(directory.join("dashboard.toml")).unwrap();
    let dashboard = render(&toml::from_str(&text).unwrap());
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(parsed["title"], "encke");
    let file = directory.join("encke.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &dashboard).unwrap();
    }
    let is_same = fs::read_to_string(&file).unwrap() == dashboard;
    assert!(
        is_same,
        "UPDATE=1 cargo test -p encke-tools --test dashboard"
    );
}
