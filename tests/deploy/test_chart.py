"""The Helm chart: what it renders, what it refuses, and what holds for every container of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

pytestmark = pytest.mark.external

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "radrelay"
EXAMPLE = CHART / "ci" / "example-values.yaml"
Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[Manifest]]

SERVICES = {"ingest", "anonymize", "storage", "triage", "assignment", "reporting", "notification"}
DIGEST = "sha256:" + "0123456789abcdef" * 4

# Choices that somebody makes, each rendered and validated.
VALUE_SETS = {
    "the example": (),
    "OpenShift": ("fsGroup=null", "networkPolicy.egress.dns.ports=[5353]"),
    "no ingress, no policies": ("ingress.enabled=false", "networkPolicy.enabled=false"),
    "a load balancer for modalities": (
        'listeners.dicom={"type": "LoadBalancer", "annotations": {"a/b": "c"}}',
        'listeners.dicom.loadBalancerSourceRanges=["192.0.2.0/24"]',
    ),
    "every listener, client certificates": (
        *(f"listeners.{name}.enabled=true" for name in ("dicomTls", "mllp", "mllpTls", "query")),
        'tls={"secretName": "clinics-tls", "clientCa": true}',
        'policies.workstations="[]"',
    ),
    "images by digest, pulled with a secret": (
        'global.imagePullSecrets=["registry"]',
        f'services.triage.digest="{DIGEST}"',
    ),
    "policies, tracing, own resources": (
        'policies.contracts="[]"',
        'telemetry.otlpEndpoint="http://collector:4318"',
        'services.storage.resources={"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}',
        'services.ingest.settings={"handler_seconds": "300"}',
        'spool={"size": "1Ti", "storageClassName": "fast"}',
    ),
    "nodes of its own, narrow egress": (
        'nodeSelector={"zone": "clinical"}',
        'tolerations=[{"key": "clinical", "operator": "Exists", "effect": "NoSchedule"}]',
        'networkPolicy.egress.bus.to=[{"namespaceSelector": {"matchLabels": {"a": "b"}}}]',
        'networkPolicy.egress.webhooks.to=[{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]',
    ),
}

# One wrong value each, and a word that the refusal must hold.
REFUSED = {
    "a misspelt name": ("ingres.enabled=true", "ingres"),
    "a misspelt name of one service": ("services.ingest.replica=2", "replica"),
    "an eighth service": ('services.billing={"replicas": 1, "secretName": "x"}', "billing"),
    "replicas as text": ('services.triage.replicas="two"', "replicas"),
    "a Secret without a name": ('services.triage.secretName=""', "secretName"),
    "a bucket without a name": ('blobs.originalsUrl="s3://s3.example.org:443"', "originalsUrl"),
    "a credential in a URL": ('auth.jwksUrl="https://user:secret@id.example.org/"', "jwksUrl"),
    "a secret among settings": ('services.anonymize.settings={"vault_key": "hunter2"}', "settings"),
    "a digest that is not one": ('services.triage.digest="latest"', "digest"),
    "an ingress without a certificate": ("ingress.tlsSecretName=null", "tlsSecretName"),
    "TLS without a certificate": ("listeners.mllpTls.enabled=true", "secretName"),
    "a listener that there is not": ('listeners.ftp={"enabled": true, "type": "ClusterIP"}', "ftp"),
    "no API keys": ("policies.apiKeys=null", "apiKeys"),
    "no memory limit": ("resources.limits.memory=null", "memory"),
}


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Each service's pod spec, by service."""
    workloads = of_kind(manifests, "Deployment", "StatefulSet")
    return {
        workload["metadata"]["labels"]["app.kubernetes.io/component"]: workload["spec"]["template"]["spec"]
        for workload in workloads
    }


def volume(pod: Manifest, name: str) -> Manifest:
    volumes: list[Manifest] = pod["volumes"]
    (found,) = [each for each in volumes if each["name"] == name]
    return found


def secret_keys(pod: Manifest) -> set[str]:
    return {item["key"] for item in volume(pod, "secrets")["secret"]["items"]}


def environment(pod: Manifest) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}


def selects(policy: Manifest) -> str:
    component: str = policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component", "all")
    return component


def test_helm_lint_finds_nothing_even_when_strict(helm: Helm) -> None:
    done = helm("lint", "--strict", CHART, "--values", EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("changes", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_every_object_is_valid_kubernetes_down_to_the_last_field(render: Render, changes: tuple[str, ...]) -> None:
    for manifest in render(*changes):
        kubernetes_validate.validate(manifest, "1.34", strict=True)  # an unknown kind raises, too


def test_the_oldest_kubernetes_that_the_chart_admits_knows_every_field(manifests: list[Manifest]) -> None:
    oldest = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert oldest == ">=1.30.0-0"
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.30", strict=True)


@pytest.mark.parametrize(("change", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_value_is_refused_by_name(helm: Helm, change: str, word: str) -> None:
    done = helm("template", "radrelay", CHART, "--values", EXAMPLE, "--set-json", change)
    assert done.returncode != 0
    assert "don't meet the specifications of the schema" in done.stderr
    assert word in done.stderr


def test_without_any_choice_the_chart_says_what_it_needs(helm: Helm) -> None:
    done = helm("template", "radrelay", CHART)
    assert done.returncode != 0
    for need in ("issuer", "jwksUrl", "originalsUrl", "deidentifiedUrl", "apiKeys", "secretName"):
        assert f"{need} is required" in done.stderr


def test_seven_services_run_and_only_ingest_keeps_a_disk(manifests: list[Manifest]) -> None:
    assert set(pods(manifests)) == SERVICES
    (stateful,) = of_kind(manifests, "StatefulSet")
    assert stateful["metadata"]["name"] == "radrelay-ingest"
    assert [claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]] == ["spool"]
    spool = environment(pods(manifests)["ingest"])["RADRELAY_SPOOL"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pods(manifests)["ingest"]["containers"][0]["volumeMounts"]}
    assert Path(spool).is_relative_to(mounts["spool"])


def test_storage_keeps_copies_of_packs_on_a_disk_with_room_for_them(render: Render) -> None:
    pod = pods(render("packCacheGiB=20"))["storage"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert Path(environment(pod)["RADRELAY_PACK_CACHE"]).is_relative_to(mounts["packs"])
    assert environment(pod)["RADRELAY_PACK_CACHE_BYTES"] == "21474836480"
    assert volume(pod, "packs")["emptyDir"]["sizeLimit"] == "21Gi"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_container_is_confined(manifests: list[Manifest], service: str) -> None:
    pod = pods(manifests)[service]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "runAsUser" not in {**pod["securityContext"], **container["securityContext"]}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert "memory" in container["resources"]["limits"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert volume(pod, "tmp")["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_container_is_asked_how_it_is_and_given_time_to_end(manifests: list[Manifest], service: str) -> None:
    pod = pods(manifests)[service]
    (container,) = pod["containers"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    drain = int(environment(pod)["RADRELAY_DRAIN_SECONDS"])
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + 2 * drain


def test_openshift_chooses_user_and_group_itself(render: Render) -> None:
    for pod in pods(render("fsGroup=null")).values():
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def listening(manifests: list[Manifest], service: str) -> dict[str, int]:
    """What a pod listens on beside HTTP, by name."""
    ports = pods(manifests)[service]["containers"][0]["ports"]
    return {port["name"]: port["containerPort"] for port in ports if port["name"] != "http"}


def heard(manifests: list[Manifest], service: str) -> set[int]:
    """The ports on which its policy lets anybody in, beside HTTP."""
    rules = named(manifests, "NetworkPolicy", f"radrelay-{service}")["spec"]["ingress"]
    return {port["port"] for rule in rules for port in rule["ports"]} - {8080}


def called(manifests: list[Manifest], service: str) -> set[int]:
    rules = named(manifests, "NetworkPolicy", f"radrelay-{service}")["spec"]["egress"]
    return {port["port"] for rule in rules for port in rule["ports"]}


EVERY_LISTENER = VALUE_SETS["every listener, client certificates"]


@pytest.mark.parametrize(
    ("changes", "ingest", "storage"),
    [
        ((), {"dicom": 11112}, {}),
        (EVERY_LISTENER, {"dicom": 11112, "dicom-tls": 2762, "mllp": 2575, "mllp-tls": 2576}, {"query": 11113}),
        (("listeners.dicom.enabled=false",), {}, {}),
    ],
    ids=["default", "every one", "HTTP only"],
)
def test_a_listener_has_its_port_its_service_and_its_way_through_the_policy(
    render: Render, changes: tuple[str, ...], ingest: dict[str, int], storage: dict[str, int]
) -> None:
    rendered = render(*changes)
    for service, ports in (("ingest", ingest), ("storage", storage)):
        assert listening(rendered, service) == ports
        assert heard(rendered, service) == set(ports.values())
        for name, port in ports.items():
            (route,) = named(rendered, "Service", f"radrelay-{service}-{name}")["spec"]["ports"]
            assert (route["port"], route["targetPort"]) == (port, name)
    assert {104, 11112} <= called(rendered, "ingest") or "dicom" not in ingest
    assert ({104, 11112} <= called(rendered, "storage")) == ("query" in storage)


def test_whoever_listens_with_tls_has_the_certificate_and_nobody_else(render: Render) -> None:
    ingest = pods(render(*EVERY_LISTENER))["ingest"]
    assert volume(ingest, "tls")["secret"]["secretName"] == "clinics-tls"
    mounts = {mount["name"]: mount["mountPath"] for mount in ingest["containers"][0]["volumeMounts"]}
    for setting in ("CERTIFICATE", "KEY", "CLIENT_CA"):
        assert Path(environment(ingest)[f"RADRELAY_DICOM_TLS_{setting}"]).is_relative_to(mounts["tls"])
    holders = [name for name, pod in pods(render(*EVERY_LISTENER)).items() if "tls" in str(pod["volumes"])]
    assert holders == ["ingest"]


def test_a_published_listener_sees_its_callers_own_addresses(render: Render) -> None:
    published = render('listeners.dicom={"type": "LoadBalancer"}')
    assert named(published, "Service", "radrelay-ingest-dicom")["spec"]["externalTrafficPolicy"] == "Local"


def test_only_ingest_and_anonymize_hold_the_keys_to_originals(manifests: list[Manifest]) -> None:
    holders = {service for service, pod in pods(manifests).items() if "originals_secret_key" in secret_keys(pod)}
    told = {service for service, pod in pods(manifests).items() if "RADRELAY_ORIGINALS_URL" in environment(pod)}
    assert holders == told == {"ingest", "anonymize"}


def test_only_anonymize_holds_the_vault_key(manifests: list[Manifest]) -> None:
    for secret in ("vault_key", "tenant_secret"):
        assert [name for name, pod in pods(manifests).items() if secret in secret_keys(pod)] == ["anonymize"]
    assert [name for name, pod in pods(manifests).items() if "vault_api_key" in secret_keys(pod)] == ["notification"]


def test_whoever_is_told_a_bucket_has_its_keys_and_nobody_else(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        for store in ("blobs", "originals"):
            told = f"RADRELAY_{store.upper()}_URL" in environment(pod)
            assert {f"{store}_access_key", f"{store}_secret_key"}.issubset(secret_keys(pod)) == told


def test_the_chart_makes_no_secret_and_puts_none_in_the_environment(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    for pod in pods(manifests).values():
        for name in environment(pod):
            assert not name.endswith(("_KEY", "_SECRET", "_BUS_URL", "_DOCUMENTS_URL")), name


def test_a_changed_policy_restarts_the_services_that_read_it(render: Render, manifests: list[Manifest]) -> None:
    def checksums(rendered: list[Manifest]) -> dict[str, str]:
        return {
            workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["annotations"]["checksum/files"]
            for workload in of_kind(rendered, "Deployment", "StatefulSet")
        }

    before, after = checksums(manifests), checksums(render('policies.contracts="- stat: 30 min"'))
    assert {name for name in before if before[name] != after[name]} == {"radrelay-triage"}
    config = named(render('policies.contracts="- stat: 30 min"'), "ConfigMap", "radrelay-triage")
    assert yaml.safe_load(config["data"]["contracts.yaml"]) == [{"stat": "30 min"}]


def test_a_digest_replaces_the_tag(render: Render, manifests: list[Manifest]) -> None:
    assert pods(manifests)["triage"]["containers"][0]["image"] == "registry.example.org/radrelay-triage:0.1.0"
    pinned = render(f'services.triage.digest="{DIGEST}"')
    assert pods(pinned)["triage"]["containers"][0]["image"] == f"registry.example.org/radrelay-triage@{DIGEST}"


def test_draining_a_node_always_gets_on(manifests: list[Manifest]) -> None:
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert len(budgets) == 7
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)


def test_no_pod_hears_or_says_anything_that_is_not_named(manifests: list[Manifest]) -> None:
    policies = {selects(policy): policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    assert set(policies) == SERVICES | {"all"}
    assert policies["all"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["all"]
    (dns,) = policies["all"]["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "TCP"), (53, "UDP")}


def test_only_notification_can_reach_the_vault(manifests: list[Manifest]) -> None:
    (rule,) = named(manifests, "NetworkPolicy", "radrelay-anonymize")["spec"]["ingress"]
    (caller,) = rule["from"]
    assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "notification"
    reaching = {
        selects(policy)
        for policy in of_kind(manifests, "NetworkPolicy")
        for rule in policy["spec"]["egress"]
        if {"port": 8080, "protocol": "TCP"} in rule["ports"]
    }
    assert reaching == {"notification"}


def test_triage_and_assignment_cannot_reach_any_bucket(manifests: list[Manifest]) -> None:
    for service in ("triage", "assignment"):
        rules = named(manifests, "NetworkPolicy", f"radrelay-{service}")["spec"]["egress"]
        assert 9000 not in {port["port"] for rule in rules for port in rule["ports"]}


def test_the_ingress_leads_to_every_service_but_the_vault(manifests: list[Manifest]) -> None:
    (ingress,) = of_kind(manifests, "Ingress")
    routes = {
        path["path"]: path["backend"]["service"]["name"].removeprefix("radrelay-")
        for path in ingress["spec"]["rules"][0]["http"]["paths"]
    }
    assert routes == {
        "/ingest": "ingest",
        "/custody": "storage",
        "/viewers": "storage",
        "/holds": "storage",
        "/purges": "storage",
        "/dicom-web": "storage",
        "/triage": "triage",
        "/radiologists": "assignment",
        "/workitems": "assignment",
        "/worklist": "assignment",
        "/reports": "reporting",
        "/webhooks": "notification",
        **{f"/ops/{service}": service for service in SERVICES - {"anonymize"}},
    }


def test_the_readme_lists_each_secret_with_its_keys(facts: dict[str, Any]) -> None:
    readme = (CHART / "README.md").read_text()
    for name, fact in facts.items():
        keys = " ".join(f"`{key}`" for key in fact["secrets"])
        assert f"| {name} | {keys} |\n" in readme


def test_two_releases_of_any_name_share_a_namespace(render: Render) -> None:
    longest = "a" * 53
    names = {(each["kind"], each["metadata"]["name"]) for each in render(release=longest)}
    assert all(len(name) <= 63 for _, name in names)
    assert not names & {(each["kind"], each["metadata"]["name"]) for each in render(release="other")}


def test_plain_manifests_are_what_the_chart_says_today(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts/render_k8s.py", tmp_path], check=True)
    rendered = {file.name: list(yaml.safe_load_all(file.read_text())) for file in tmp_path.iterdir()}
    kept = {file.name: list(yaml.safe_load_all(file.read_text())) for file in (ROOT / "k8s").glob("*.yaml")}
    assert kept == rendered, "run `make k8s`"
