// Names as their programmers wrote them. C++ names (and those of older Rust) go through the C++
// runtime's own __cxa_demangle, which is loaded only when it is asked for; Swift's through the Swift
// runtime's. A name that is none of these, or that they don't understand, stays as it is.

import Glibc

@_silgen_name("swift_demangle")
private func swiftDemangle(
    _ name: UnsafePointer<CChar>?, _ byteCount: UInt, _ output: UnsafeMutablePointer<CChar>?,
    _ outputByteCount: UnsafeMutablePointer<UInt>?, _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?

/// Turns mangled names into readable ones.
package struct Demangler: Sendable {
    private typealias CxxDemangle = @convention(c) (
        UnsafePointer<CChar>?, UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<Int>?, UnsafeMutablePointer<CInt>?
    ) -> UnsafeMutablePointer<CChar>?

    private let cxxDemangle: CxxDemangle?

    /// Loads the C++ runtime.
    package init() {
        guard let library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL), let function = dlsym(library, "__cxa_demangle") else {
            cxxDemangle = nil
            return
        }
        cxxDemangle = unsafeBitCast(function, to: CxxDemangle.self)
    }

    /// Whether C++ names can be demangled: libstdc++.so.6 was found.
    package var knowsCxx: Bool { cxxDemangle != nil }

    /// The readable form of a name, or nil where it has none.
    ///
    /// - Complexity: the runtimes' own: a C++ name can be made to say exponentially more than its length.
    package func demangle(_ name: [UInt8]) -> String? {
        let isCxx = name.starts(with: "_Z".utf8)
        guard isCxx || ["$s", "$S", "_$s", "_T0"].contains(where: { name.starts(with: $0.utf8) }) else { return nil }
        return (name + [0]).withUnsafeBytes { bytes -> String? in
            guard let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self) else { return nil }
            let result: UnsafeMutablePointer<CChar>?
            if isCxx {
                var status: CInt = 0
                result = cxxDemangle?(start, nil, nil, &status)
            } else {
                result = swiftDemangle(start, UInt(name.count), nil, nil, 0)
            }
            guard let result else { return nil }
            defer { free(result) }
            return String(cString: result)
        }
    }
}
