# What deploy/release and deploy/wheel/build have in common. Sourced, not run.
# shellcheck shell=bash
# shellcheck source=tests/needs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tests/needs.sh"

# need_commit: there must be nothing that is not committed; sets revision, version and the time of the commit.
need_commit() {
    local changes
    changes=$(git -C "$root" status --porcelain)
    [ -z "$changes" ] || die "there are changes that are not committed: a release is of a commit"
    # shellcheck disable=SC2034  # for SIDEPULSE_REVISION
    revision=$(git -C "$root" rev-parse HEAD)
    committed=$(git -C "$root" log -1 --format=%ct)
    version=$(cargo metadata --locked --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
        sed 's/.*"name":"sidepulse","version":"\([^"]*\)".*/\1/')
}

# rust_flags FLAG…: for CARGO_ENCODED_RUSTFLAGS. Panics name source files: not by their place on this machine.
rust_flags() {
    local flag
    printf '%s' "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    for flag in "--remap-path-prefix=$root=/sidepulse" "$@"; do printf '\x1f%s' "$flag"; done
}

# archive BINARY TRIPLE DIRECTORY: sidepulse-VERSION-TRIPLE.tar.gz there. The same bytes from the same files: no times, no
# owners, no umask, a fixed order.
archive() {
    local name=sidepulse-$version-$2 files
    files=$(mktemp -d)
    mkdir "$files/$name"
    cp "$root"/{README.md,SECURITY.md,LICENSE} "$files/$name/"
    # A binary unpacked from a wheel has lost its right to be run.
    install -m 755 "$1" "$files/$name/sidepulse"
    tar --sort=name --mode=u=rwX,go=rX --mtime="@$committed" --owner=0 --group=0 --numeric-owner -C "$files" -cf - "$name" |
        gzip -n >"$3/$name.tar.gz"
    rm -r "$files"
}

# bill_of_materials TRIPLE DIRECTORY: sidepulse-VERSION.cdx.json there (CycloneDX 1.5).
bill_of_materials() {
    need_cargo_tool cargo-cyclonedx "$CARGO_CYCLONEDX"
    # The tool writes beside Cargo.toml, wherever it is called, and names the folder in which it was called.
    (cd "$root" && SOURCE_DATE_EPOCH=$committed cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$1" \
        --override-filename release-sbom)
    sed "s#path+file://$root#path+file:///sidepulse#g" "$root/release-sbom.json" >"$2/sidepulse-$version.cdx.json"
    rm "$root/release-sbom.json"
}

# checksums DIRECTORY: SHA256SUMS of everything there.
checksums() {
    (cd "$1" && rm -f SHA256SUMS && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS && cat SHA256SUMS)
}
