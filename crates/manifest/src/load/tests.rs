use super::*;

fn read(text: &str) -> Loaded {
    load(&Memory::new([("f.yaml", text)]), &["f.yaml"], &LoadOptions::default())
}

use crate::files::Memory;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: web}}\n";

fn ids(loaded: &Loaded) -> Vec<&str> {
    loaded.diagnostics.iter().chain(&loaded.notes).map(|d| d.id.as_ref()).collect()
}

#[test]
fn a_bad_document_does_not_hide_the_others() {
    let loaded = read(&format!("{POD}---\na: [1, 2\n---\n{}---\n# nothing\n---\n", POD.replace("name: a", "name: b")));
    assert_eq!(loaded.objects.len(), 2);
    assert_eq!(ids(&loaded), ["yaml-syntax"]);
    assert!(loaded.has_untrusted_policy());
}

#[test]
fn an_unknown_field_of_a_policy_is_refused_with_its_place() {
    let loaded = read(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector: {}\n  ingress:\n  - form: []\n",
    );
    let d = &loaded.diagnostics[0];
    assert_eq!(d.message, "strict decoding error: unknown field \"spec.ingress[0].form\"");
    assert_eq!(d.place.as_ref().map(ToString::to_string).as_deref(), Some("f.yaml:7:5"));
    assert_eq!(d.object.as_ref().map(ToString::to_string).as_deref(), Some("NetworkPolicy/default/p"));
    assert!(loaded.has_untrusted_policy());
}

#[test]
fn a_field_that_stands_twice_is_refused_in_every_kind() {
    let loaded = read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n");
    assert_eq!(loaded.diagnostics[0].message, "strict decoding error: duplicate field \"metadata.name\"");
    let text = loaded.diagnostics[0].render(false);
    assert!(text.contains("f.yaml:5:3") && text.contains("first here"), "{text}");
    assert!(!loaded.has_untrusted_policy() && loaded.has_untrusted_object());
}

#[test]
fn unknown_fields_of_a_pod_are_fine_and_a_wrong_type_is_not() {
    assert_eq!(read(&format!("{POD}spec: {{containers: [{{name: c, image: i, tty: true}}]}}\n")).objects.len(), 1);
    let loaded = read(&format!("{POD}spec: {{hostNetwork: 3}}\n"));
    assert_eq!(loaded.diagnostics[0].field, "spec.hostNetwork");
    assert_eq!(
        loaded.diagnostics[0].message,
        "json: cannot unmarshal number into Go struct field PodSpec.spec.hostNetwork of type bool"
    );
}

#[test]
fn lists_of_every_sort_are_opened() {
    let items = "items:\n- metadata: {name: a}\n- metadata: {name: b}\n";
    let loaded = read(&format!("apiVersion: v1\nkind: PodList\n{items}"));
    assert_eq!(loaded.objects.len(), 2);
    let bad = read("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: A_}\n");
    assert_eq!(bad.diagnostics[0].place.as_ref().map(ToString::to_string).as_deref(), Some("f.yaml:6:20"));
    assert_eq!(bad.diagnostics[0].field, "metadata.name");
}

#[test]
fn the_last_of_duplicates_wins_and_both_places_are_named() {
    let loaded = read(&format!("{POD}---\n{}", POD.replace("web", "db")));
    assert_eq!(loaded.objects.len(), 1);
    assert_eq!(loaded.objects[0].object.labels().get("app"), Some("db"));
    let text = loaded.diagnostics[0].render(false);
    assert!(text.contains("Pod/default/a is defined twice"), "{text}");
    assert!(text.contains("3 |") && text.contains("7 |"), "{text}");
}

#[test]
fn policies_of_other_apis_are_errors_and_other_kinds_notes() {
    let loaded = read(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: g}\n---\napiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: ConfigMap\n",
    );
    assert_eq!(ids(&loaded), ["unread-policy", "unknown-kind"]);
    assert!(loaded.has_untrusted_policy());
    assert!(loaded.notes[0].message.contains("2 objects have"));
}

#[test]
fn folders_are_read_in_order_and_the_files_of_other_tools_named() {
    let files = Memory::new([
        ("d/b.yaml", POD.replace("name: a", "name: b")),
        ("d/sub/a.yml", POD.to_owned()),
        ("d/kustomization.yaml", "resources: [b.yaml]".to_owned()),
        ("d/Chart.yaml", "name: x".to_owned()),
        ("d/values-prod.yaml", "a: 1".to_owned()),
        ("d/t.yaml", "a: {{ .Values.x }}\n".to_owned()),
        ("d/ci.yaml", "jobs: {}\n".to_owned()),
        ("d/x.case.yaml", "tortie: v1".to_owned()),
        ("d/.git.yaml", "[".to_owned()),
        ("d/read.me", "[".to_owned()),
        ("d/pods.json", format!("{}\n{}", json_pod("j1"), json_pod("j2"))),
    ]);
    let loaded = load(&files, &["d"], &LoadOptions::default());
    let names: Vec<String> = loaded.objects.iter().map(|o| o.object.reference().to_string()).collect();
    assert_eq!(names, ["Pod/default/b", "Pod/default/j1", "Pod/default/j2", "Pod/default/a"]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    // One for the chart, with its values; and one each for kustomization, template, case and what is no object.
    assert_eq!(loaded.notes.len(), 5, "{:?}", loaded.notes);
    let named = load(&files, &["d/t.yaml"], &LoadOptions::default());
    assert!(named.has_untrusted_policy(), "a template that was named is an error");
}

#[test]
fn a_chart_is_left_out_as_a_whole_but_for_its_plain_manifests() {
    let quoted = POD.replace("name: a", "name: \"{{ .Release.Name }}\"");
    let files = Memory::new([
        ("d/Chart.yaml", "name: x".to_owned()),
        ("d/values.yaml", "a: 1".to_owned()),
        ("d/templates/pod.yaml", quoted.clone()),
        ("d/crds/pod.yaml", POD.to_owned()),
        ("alone/pod.yaml", quoted),
    ]);
    let loaded = load(&files, &["d"], &LoadOptions::default());
    assert_eq!((loaded.objects.len(), loaded.diagnostics.len(), loaded.notes.len()), (1, 0, 1), "{loaded:?}");
    let alone = load(&files, &["alone"], &LoadOptions::default());
    assert!(alone.diagnostics[0].help.as_ref().is_some_and(|h| h.contains("helm template")), "{alone:?}");
}

#[test]
fn a_file_of_another_tool_that_was_named_is_an_error_with_the_way_out() {
    for (name, text, way_out) in [
        ("kustomization.yaml", "resources: [a.yaml]\n", "kubectl kustomize"),
        ("values.yaml", "a: 1\n", "helm template"),
        ("t.yaml", "{{- if .Values.x }}\n", "helm template"),
    ] {
        let loaded = load(&Memory::new([(name, text)]), &[name], &LoadOptions::default());
        let help = loaded.diagnostics[0].help.clone().unwrap_or_default();
        assert!(loaded.has_untrusted_policy() && help.contains(way_out), "{name}: {:?}", loaded.diagnostics);
    }
}

#[test]
fn input_without_anything_in_it_is_a_mistake() {
    let files = Memory::new([
        ("empty.yaml", ""),
        ("comments.yaml", "# nothing\n---\n# still\n"),
        ("kept/kustomization.yaml", "resources: []\n"),
        ("other.yaml", "apiVersion: v1\nkind: ConfigMap\n"),
        ("pod.yaml", POD),
    ]);
    let of = |paths: &[&str]| load(&files, paths, &LoadOptions::default());
    for paths in [&["empty.yaml"][..], &["comments.yaml"], &["kept"], &["empty.yaml", "comments.yaml"]] {
        let loaded = of(paths);
        assert_eq!(loaded.diagnostics.iter().map(|d| &*d.id).collect::<Vec<_>>(), ["no-manifests"], "{paths:?}");
        assert!(loaded.has_untrusted_policy());
    }
    assert!(of(&["other.yaml"]).diagnostics.is_empty(), "it was read, and has no part in policy");
    assert!(of(&["empty.yaml", "pod.yaml"]).diagnostics.is_empty());
    assert!(of(&[]).diagnostics.is_empty(), "nothing was asked for");
}

#[test]
fn what_was_meant_is_said_of_a_misspelt_kind_or_version() {
    let help = |text: &str| read(text).diagnostics[0].help.clone().unwrap_or_default();
    assert_eq!(help("apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\n"), "did you mean `kind: NetworkPolicy`?");
    assert_eq!(help("apiVersion: v1\nkind: Pood\n"), "did you mean `kind: Pod`?");
    assert_eq!(
        help("apiVersion: networking.k8s/v1\nkind: NetworkPolicy\n"),
        "NetworkPolicy is `apiVersion: networking.k8s.io/v1`"
    );
    assert_eq!(help("apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n"), "Deployment is `apiVersion: apps/v1`");
}

fn json_pod(name: &str) -> String {
    format!("{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"{name}\"}}}}")
}

#[test]
fn what_cannot_be_read_is_named() {
    let files =
        Memory::new([("empty/x.txt", &b""[..]), ("bad.yaml", b"a: b\nc: \xff\n"), ("wide.yaml", b"\xff\xfea\0")]);
    let of = |path: &str| load(&files, &[path], &LoadOptions::default()).diagnostics[0].clone();
    assert_eq!(of("empty").id, "no-manifests");
    assert_eq!(of("missing.yaml").id, "unreadable");
    let bad = of("bad.yaml");
    assert_eq!(bad.place.as_ref().map(ToString::to_string).as_deref(), Some("bad.yaml:2:4"));
    assert_eq!(of("wide.yaml").message, "the text is UTF-16");
}

#[test]
fn anchors_merges_byte_order_marks_and_line_ends() {
    let loaded = read(
        "\u{feff}apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: a\r\n  labels: &l {app: web}\r\n---\r\napiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: b\r\n  annotations: &m {x: v}\r\n  labels: {<<: *m, z: w}\r\n",
    );
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    assert_eq!(loaded.objects[1].object.labels().get("x"), Some("v"));
    assert_eq!(loaded.objects[1].object.labels().get("z"), Some("w"));
}

#[test]
fn bombs_and_cycles_end_in_an_error() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    let loaded = read(&bomb);
    assert!(loaded.diagnostics[0].message.contains("aliases"), "{:?}", loaded.diagnostics);
    assert_eq!(ids(&read("a: &a [*a]\n")), ["yaml-syntax"]);
    assert_eq!(ids(&read(&"[".repeat(100_000))), ["yaml-syntax"]);
    assert_eq!(ids(&read(&"{\"a\":".repeat(100_000))), ["yaml-syntax"]);
    let mut deep = String::new();
    for i in 0..1000 {
        deep.push_str(&format!("{}a:\n", " ".repeat(i)));
    }
    assert_eq!(ids(&read(&deep)), ["yaml-syntax"]);
}

#[test]
fn a_boolean_in_disguise_is_explained() {
    let loaded = read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {x: y}\n");
    let d = &loaded.diagnostics[0];
    assert_eq!(d.place.as_ref().map(ToString::to_string).as_deref(), Some("f.yaml:5:15"));
    assert!(d.help.as_ref().is_some_and(|h| h.contains("\"y\"")), "{d:?}");
}

#[test]
fn a_tab_is_named_as_the_cause() {
    let loaded = read("apiVersion: v1\nkind: Pod\nmetadata:\n\tname: a\n");
    assert!(loaded.diagnostics[0].message.contains("tab"), "{:?}", loaded.diagnostics[0].message);
    assert_eq!(loaded.diagnostics[0].place.as_ref().map(Place::line), Some(4));
}

#[test]
fn a_tab_inside_brackets_is_taken_as_kubectl_takes_it() {
    let loaded = read("apiVersion: v1\nkind: Pod\nmetadata: {\n\tname: a\n\t}\n");
    assert_eq!((loaded.objects.len(), loaded.diagnostics.len()), (1, 0), "{:?}", loaded.diagnostics);
}

#[test]
fn places_of_values_are_found() {
    let loaded = read(
        "# c\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {}\n  ingress:\n  - from:\n    - podSelector: {}\n    - ipBlock:\n        cidr: 10.0.0.0/8\n  - {}\n",
    );
    let origin = &loaded.objects[0].origin;
    let line = |p: &str| origin.place(p).line();
    assert_eq!((line("/spec/ingress/0"), line("/spec/ingress/0/from/1"), line("/spec/ingress/1")), (9, 11, 13));
    assert_eq!(origin.place("/metadata/name").to_string(), "f.yaml:5:9");
    assert_eq!(line(""), 2);
}

#[test]
fn an_unusual_block_is_accepted_with_the_api_servers_warning() {
    let loaded = read(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  egress:\n  - to:\n    - ipBlock:\n        cidr: 2001:0DB8::/32\n",
    );
    assert_eq!((loaded.objects.len(), ids(&loaded)), (1, vec!["api-warning"]));
    assert_eq!(
        loaded.diagnostics[0].text(),
        "spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value \"2001:0DB8::/32\" should be in RFC 5952 canonical format (\"2001:db8::/32\")"
    );
    let sources = loaded.sources();
    let policy = "NetworkPolicy/default/p".parse().unwrap();
    assert_eq!(sources.place(&policy, "/spec/egress/0/to/0/ipBlock/cidr").unwrap().to_string(), "f.yaml:9:15");
}

#[test]
fn a_bad_label_is_underlined_where_it_is_bad() {
    let loaded = read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {a b: c, d: \"-\"}\n");
    let places: Vec<_> = loaded.diagnostics.iter().map(|d| d.place.as_ref().map_or(0, Place::column)).collect();
    assert_eq!(places, [12, 23], "the key of the first, the value of the second");
}
