#!/bin/sh
# vps-docker-image.sh - run inside a container of the test server's image: makes it one that builds and runs containers.
#
# Adds Docker with Compose, Buildx and a registry, HAProxy and socat, and /usr/local/share/devflow-base.tar: the root of
# a small image (Python with its standard library, and busybox) for containers inside. Needs root; about a minute.
set -eu

DOCKER="docker.io docker-cli docker-compose docker-buildx docker-registry"
BALANCER="haproxy socat"
base=/var/tmp/devflow-base

main() {
    export DEBIAN_FRONTEND=noninteractive
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get update -q
    # shellcheck disable=SC2086 # lists of words
    apt-get install -y -q $DOCKER $BALANCER busybox-static
    apt-get clean
    rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d
    usermod --append --groups docker deploy
    # A node's command switches Docker on where it is wanted; a test starts the registry by itself.
    for unit in docker.service docker.socket containerd.service docker-registry.service; do
        rm -f /etc/systemd/system/*.target.wants/$unit /etc/systemd/system/*.requires/$unit
    done
    # Test servers reach each other's registries without certificates.
    mkdir -p /etc/docker
    echo '{"insecure-registries": ["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"]}' >/etc/docker/daemon.json
    base_root
    tar -C "$base" -cf /usr/local/share/devflow-base.tar .
    rm -rf "$base"
}

base_root() {
    mkdir -p "$base/usr/bin" "$base/usr/lib" "$base/usr/lib64" "$base/etc" "$base/proc" "$base/sys" "$base/dev" "$base/run" "$base/var" "$base/root"
    install -d -m 1777 "$base/tmp"
    ln -s usr/bin "$base/bin"
    ln -s usr/bin "$base/sbin"
    ln -s usr/lib "$base/lib"
    ln -s usr/lib64 "$base/lib64"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$base/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$base/etc/group"
    cp /usr/bin/busybox "$base/usr/bin/busybox"
    for name in $(busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$base/usr/bin/$name"
    done
    python
}

# The interpreter, its libraries, and of the standard library what an application may want.
python() {
    version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    cp "/usr/bin/$version" "$base/usr/bin/$version"
    ln -s "$version" "$base/usr/bin/python3"
    ln -s "$version" "$base/usr/bin/python"
    tar -C / -c --exclude='__pycache__' --exclude='test' --exclude='idlelib' --exclude='ensurepip' --exclude='config-*' \
        --exclude='pydoc_data' --exclude='tkinter' --exclude='lib2to3' "usr/lib/$version" | tar -C "$base" -x
    ldd "/usr/bin/$version" "/usr/lib/$version"/lib-dynload/*.so | grep -oE '/[^ ]+\.so[^ ]*' | grep -v lib-dynload | sort -u |
        while read -r library; do
            mkdir -p "$base$(dirname "$(readlink -f "$(dirname "$library")")/x")"
            cp -L "$library" "$base$(readlink -f "$(dirname "$library")")/"
        done
}

main
