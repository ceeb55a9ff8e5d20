// pprof itself, as the judge of profiles.

import Glibc

/// Debian's pprof, made of the sources that its Go library package brings.
package let pprof: String = {
    let path = "\(Built.root)/.build/test-programs/pprof"
    if access(path, X_OK) == 0 { return path }
    let made = "\(path).\(getpid())"
    let status = system(
        "mkdir -p '\(Built.root)/.build/test-programs' && cd /usr/share/gocode/src/github.com/google/pprof "
            + "&& GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE='\(Built.root)/.build/go-cache' go build "
            + "-o '\(made)' . >&2 && mv '\(made)' '\(path)'"
    )
    precondition(status == 0, "pprof doesn't build")
    return path
}()
