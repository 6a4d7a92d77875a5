"""Kubernetes' "restricted" pod security standard, as its admission controller checks a pod: every clause.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ at 1.36. Volumes of images are taken
since 1.33 (`pod-security-admission/policy/check_restrictedVolumes.go`), which that page does not say yet.
"""

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"}
SECCOMP = {"RuntimeDefault", "Localhost"}
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def forbidden(spec):
    """Why the spec of a pod would be refused; empty if it is taken."""
    pod = spec.get("securityContext") or {}
    found = [f"{name}: true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"sysctl {each['name']}" for each in pod.get("sysctls", ()) if each["name"] not in SYSCTLS]
    found += ["procMount or SELinux options"] if pod.get("seLinuxOptions") else []
    found += ["windows host process"] if (pod.get("windowsOptions") or {}).get("hostProcess") else []
    for volume in spec.get("volumes", ()):
        (kind,) = set(volume) - {"name"}
        if kind not in VOLUMES:
            found.append(f"volume {volume['name']} is a {kind}")
    for group in CONTAINERS:
        for container in spec.get(group, ()):
            found += [f"{container['name']}: {why}" for why in _of(container, pod)]
    return found


def _of(container, pod):
    own = container.get("securityContext") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"adds {capabilities['add']}"
    if own.get("procMount", "Default") != "Default" or own.get("seLinuxOptions"):
        yield "procMount or SELinux options"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
        yield "runAsUser is 0"
    profile = own.get("seccompProfile") or pod.get("seccompProfile") or {}
    if profile.get("type") not in SECCOMP:
        yield "no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "a port of the host"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if ((container.get(probe) or {}).get("httpGet") or {}).get("host"):
            yield f"{probe} asks another host"
