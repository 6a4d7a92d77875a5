{{/* Names, labels and checks that several files need. */}}

{{/* Never `tuneline` alone: a Service of that name would set TUNELINE_PORT=tcp://... in every pod beside it. */}}
{{- define "tuneline.name" -}}
{{- printf "%s-server" (.Release.Name | trunc 56 | trimSuffix "-") -}}
{{- end -}}

{{- define "tuneline.selector" -}}
app.kubernetes.io/name: tuneline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "tuneline.labels" -}}
{{ include "tuneline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tuneline
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "tuneline.account" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "tuneline.name" . }}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "tuneline.image" -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- end -}}

{{/* Whether the pod asks the API of Kubernetes for anything: else it gets no token of it. */}}
{{- define "tuneline.asks" -}}
{{- if or .Values.rbac.endpoints .Values.rbac.routes .Values.rbac.autoscaling .Values.rbac.keda -}}true{{- end -}}
{{- end -}}

{{- define "tuneline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "tuneline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What every container of the server's pod has: the commands that write the record read the same settings. */}}
{{- define "tuneline.env" -}}
- name: TUNELINE_HOME
  value: /var/lib/tuneline
- name: TUNELINE_HOST
  value: {{ .Values.server.listen | quote }}
- name: TUNELINE_PORT
  value: "8080"
- name: TUNELINE_LOG_LEVEL
  value: {{ .Values.server.logLevel | quote }}
- name: TUNELINE_TASK_SLOTS
  value: {{ .Values.server.taskSlots | quote }}
- name: TUNELINE_DRAIN_S
  value: {{ .Values.server.drainSeconds | quote }}
{{- with .Values.artifacts.root }}
- name: TUNELINE_ARTIFACTS
  value: {{ . | quote }}
{{- end }}
{{- if .Values.ingress.enabled }}
- name: TUNELINE_PUBLIC_URL
  value: {{ printf "https://%s" .Values.ingress.host | quote }}
{{- end }}
{{- with .Values.database.secret }}
- name: TUNELINE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.database.key | quote }}
{{- end }}
{{- with .Values.notify.secret }}
- name: TUNELINE_NOTIFY
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.notify.key | quote }}
{{- end }}
{{- with .Values.server.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tuneline.mounts" -}}
- name: home
  mountPath: /var/lib/tuneline
- name: tmp
  mountPath: /tmp
- name: user
  mountPath: /home/tuneline
{{- end -}}

{{/* What the schema cannot say in words of its own: it would only print which keyword failed. */}}
{{- define "tuneline.check" -}}
{{- $faults := list -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) -}}
{{- $faults = append $faults (printf "the release is called %s: its Service is named after it, so it must begin with a letter and have letters, digits and `-` alone" .Release.Name) -}}
{{- end -}}
{{- if not .Values.image.repository -}}
{{- $faults = append $faults "image.repository is empty: name the image built from deploy/images/server, without a tag" -}}
{{- end -}}
{{- if not .Values.image.digest -}}
{{- $faults = append $faults "image.digest is empty: give the digest that the push of the image printed, sha256:..." -}}
{{- end -}}
{{- if not .Values.tokens.secret -}}
{{- $faults = append $faults "tokens.secret is empty: the server listens beyond its pod only where there is a token; make a Secret with `kubectl create secret generic tuneline-tokens --from-literal=admin=$(tuneline token generate)`" -}}
{{- end -}}
{{- if and (not .Values.home.enabled) (not (and .Values.database.secret .Values.artifacts.root)) -}}
{{- $faults = append $faults "home.enabled is false, so the record or what runs put out would end with the pod: set database.secret and artifacts.root, or enable the volume" -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- if not .Values.ingress.host -}}
{{- $faults = append $faults "ingress.host is empty: give the name by which people reach the server" -}}
{{- end -}}
{{- if not .Values.ingress.tlsSecret -}}
{{- $faults = append $faults "ingress.tlsSecret is empty: tokens would go over the network in clear; name a Secret of kind kubernetes.io/tls" -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n%s" (join "\n" $faults)) -}}
{{- end -}}
{{- end -}}
