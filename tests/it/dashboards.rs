//! What `deploy/` says of metrics, held against the metrics of a running service: the dashboard and the alert rules name
//! nothing that isn't there, and the dashboard leaves nothing out.

use std::collections::{BTreeMap, BTreeSet};

use kfbind::sim::{Api, Fault};
use serde_json::Value;

use crate::support::TestApp;

fn deployed(file: &str) -> String {
    let path = format!("{}/deploy/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The families of a service that has seen everything: name and kind.
async fn families() -> BTreeMap<String, String> {
    let app = TestApp::start().await;
    app.bound("u").await;
    // Errors are counted by their number, so there is none before the first.
    app.sim.fail_next(Api::SyncMsg, Fault::Errcode(-1), 1);
    app.sim.push_callback(&app.account());
    app.metric_reaches("kfbind_wecom_api_errors_total{api=\"sync_msg\",errcode=\"-1\"}", 1.0).await;
    let page = app.client().get("/metrics").await.expect(200).text();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The names of our metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("kfbind_")).map(str::to_owned).collect()
}

/// The family that a series belongs to.
fn family<'n>(families: &BTreeMap<String, String>, name: &'n str) -> Option<&'n str> {
    let is = |name: &str, kind: &str| families.get(name).is_some_and(|known| known == kind);
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
    match stem.filter(|stem| is(stem, "histogram")) {
        Some(stem) => Some(stem),
        None => Some(name).filter(|name| is(name, "counter") || is(name, "gauge")),
    }
}

#[tokio::test]
async fn dashboard_and_alerts_name_the_metrics_that_there_are() {
    let families = families().await;
    assert!(families.len() >= 16, "{families:?}");
    let dashboard = named(&deployed("grafana/kfbind.json"));
    for (file, names) in [
        ("grafana/kfbind.json", dashboard.clone()),
        ("prometheus/alerts.yml", named(&deployed("prometheus/alerts.yml"))),
        ("prometheus/alerts.test.yml", named(&deployed("prometheus/alerts.test.yml"))),
    ] {
        assert!(names.len() > 10, "{file} names {names:?}");
        let unheard: Vec<_> = names.iter().filter(|name| family(&families, name).is_none()).collect();
        assert!(unheard.is_empty(), "{file} names metrics that a service does not have: {unheard:?}");
    }
    let shown: BTreeSet<&str> = dashboard.iter().filter_map(|name| family(&families, name)).collect();
    let left_out: Vec<_> = families.keys().filter(|name| !shown.contains(name.as_str())).collect();
    assert!(left_out.is_empty(), "the dashboard leaves out {left_out:?}");
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&deployed("grafana/kfbind.json")).unwrap();
    assert_eq!(dashboard["uid"], "kfbind");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another panel's, too");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} lies outside of the grid");
        for (column, line) in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(places.insert((column, line)), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{title} explains nothing"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} asks nothing");
        for target in targets {
            // Whoever imports it has a data source of another name.
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(target["expr"].as_str().unwrap().contains("instance=~\"$instance\""), "{title}");
        }
    }
}
