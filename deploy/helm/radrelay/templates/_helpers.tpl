{{/* The facts of files/services.yaml, as YAML: range over `include "radrelay.services" . | fromYaml`. */}}
{{- define "radrelay.services" -}}
{{ .Files.Get "files/services.yaml" }}
{{- end -}}

{{/* Names leave room for the longest suffix: a Service's name has at most 63 characters. */}}
{{- define "radrelay.prefix" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}

{{- define "radrelay.platform.selector" -}}
app.kubernetes.io/name: radrelay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "radrelay.platform.labels" -}}
{{ include "radrelay.platform.selector" . }}
app.kubernetes.io/part-of: radrelay
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* From here on the context is {root, name, service}: one service of the table. */}}
{{- define "radrelay.fullname" -}}
{{ include "radrelay.prefix" .root }}-{{ .name }}
{{- end -}}

{{- define "radrelay.selector" -}}
{{ include "radrelay.platform.selector" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "radrelay.labels" -}}
{{ include "radrelay.platform.labels" .root }}
app.kubernetes.io/component: {{ .name }}
radrelay/zone: {{ .service.zone }}
{{- end -}}

{{- define "radrelay.image" -}}
{{- $values := .root.Values -}}
{{- $choice := index $values.services .name -}}
{{- with $values.global.imageRegistry }}{{ . }}/{{ end -}}
{{ $values.image.repository }}-{{ .name }}
{{- with $choice.digest }}@{{ . }}{{ else }}:{{ $values.image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Listeners beside HTTP that are on: {name: {port, setting, tls, egress}}. */}}
{{- define "radrelay.listeners" -}}
{{- range $name, $fact := .service.listeners }}
{{- if (index $.root.Values.listeners $name).enabled }}
{{ $name }}: {{ $fact | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The name of the Secret with the certificate, if any of them speaks TLS. */}}
{{- define "radrelay.certificate" -}}
{{- range $name, $fact := include "radrelay.listeners" . | fromYaml }}
{{- if $fact.tls }}
{{- $.root.Values.tls.secretName }}
{{- break }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Policy files: {file name: text} for every policy that has a text. */}}
{{- define "radrelay.files" -}}
{{- range $setting, $policy := .service.files }}
{{- with index $.root.Values.policies $policy }}
{{ $setting | trimSuffix "_file" }}.yaml: {{ . | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Environment: {setting: value}. Secrets are never here, they are files. */}}
{{- define "radrelay.settings" -}}
{{- $values := .root.Values -}}
http_host: 0.0.0.0
http_port: 8080
log_level: {{ $values.telemetry.logLevel | quote }}
drain_seconds: {{ $values.drainSeconds }}
auth_jwks: {{ $values.auth.jwksUrl | quote }}
auth_issuer: {{ $values.auth.issuer | quote }}
auth_audience: {{ $values.auth.audience | quote }}
{{- with $values.telemetry.otlpEndpoint }}
otlp_endpoint: {{ . | quote }}
{{- end }}
{{- if has "blobs" .service.buckets }}
blobs_url: {{ $values.blobs.deidentifiedUrl | quote }}
{{- end }}
{{- if has "originals" .service.buckets }}
originals_url: {{ $values.blobs.originalsUrl | quote }}
{{- end }}
{{- if has "vault_api_key" .service.secrets }}
vault_url: http://{{ include "radrelay.prefix" .root }}-anonymize:8080
{{- end }}
{{- range include "radrelay.listeners" . | fromYaml }}
{{ .setting }}: {{ .port }}
{{- end }}
{{- if include "radrelay.certificate" . }}
dicom_tls_certificate: /run/secrets/tls/tls.crt
dicom_tls_key: /run/secrets/tls/tls.key
{{- if $values.tls.clientCa }}
dicom_tls_client_ca: /run/secrets/tls/ca.crt
{{- end }}
{{- end }}
{{- if .service.spool }}
spool: /var/lib/radrelay/spool
{{- end }}
{{- if .service.packs }}
pack_cache: /var/lib/radrelay/packs
pack_cache_bytes: {{ mul (int $values.packCacheGiB) 1073741824 | quote }}
{{- end }}
{{- range $setting, $policy := .service.files }}
{{- if index $values.policies $policy }}
{{ $setting }}: /etc/radrelay/{{ $setting | trimSuffix "_file" }}.yaml
{{- end }}
{{- end }}
{{- with (index $values.services .name).settings }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* One rule of a NetworkPolicy; the context is {direction: to|from, ports, peers}. No peers: anyone, on these ports. */}}
{{- define "radrelay.rule" -}}
- ports:
  {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
  {{- if has (int .) (list 53 5353) }}
    - {port: {{ . }}, protocol: UDP}
  {{- end }}
  {{- end }}
  {{- with .peers }}
  {{ $.direction }}: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
