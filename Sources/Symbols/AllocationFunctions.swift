// Functions that only pass on a block from an allocator: the block belongs to their caller. Stacks of an image begin at
// that caller, except for functions of language runtimes in between. Stacks of a log begin in the allocator itself.
//
// The list has only names that mean the same in every program. A program's own wrapper (its xmalloc) is a function like
// any other.

/// The functions between a program's code and its memory.
package enum AllocationFunctions {
    /// Whether a function, given by its demangled name, returns blocks that an allocator made.
    package static func contains(_ function: String) -> Bool {
        // Versions and clones: malloc@@GLIBC_2.2.5, kmalloc.isra.0.
        let name = function.prefix { $0 != "@" }
        if names.contains(String(name)) { return true }
        if let dot = name.firstIndex(of: "."), dot != name.startIndex, names.contains(String(name[..<dot])) {
            return true
        }
        // The sanitizers' own entries: __interceptor_malloc.
        if name.hasPrefix("__interceptor_"), names.contains(String(name.dropFirst(14))) { return true }
        if beginnings.contains(where: { function.hasPrefix($0) }) { return true }
        // libstdc++'s containers each have one function that calls their allocator.
        return function.hasPrefix("std::")
            && ["::_M_allocate(", "::_M_get_node(", "::_M_allocate_node<", "::_M_create("].contains {
                function.contains($0)
            }
    }

    /// Whether a block that this function allocates belongs to its caller: it is an allocation function, or in C++'s
    /// library.
    package static func standsBetween(_ function: String) -> Bool {
        contains(function) || isOfStandardLibrary(function)
    }

    /// C++'s own containers and helpers: a vector's block belongs to the code that fills the vector. A template's
    /// return type stands before its name and doesn't count: `std::vector<int> squares<int>()` is the program's.
    private static func isOfStandardLibrary(_ function: String) -> Bool {
        guard function.contains("std::") || function.contains("__gnu_cxx::") else { return false }
        var depth = 0, nameStart = function.utf8.startIndex
        var at = nameStart
        loop: while at < function.utf8.endIndex {
            switch function.utf8[at] {
            case UInt8(ascii: "<"): depth += 1
            case UInt8(ascii: ">"): depth -= 1
            case UInt8(ascii: "("): if depth <= 0 { break loop }
            case UInt8(ascii: " "): if depth <= 0 { nameStart = function.utf8.index(after: at) }
            default: break
            }
            at = function.utf8.index(after: at)
        }
        let name = function[nameStart...]
        return name.hasPrefix("std::") || name.hasPrefix("__gnu_cxx::")
    }

    private static let names: Set<String> = [
        // C. Functions that return a copy in a block of its own (strdup) belong to the family: their caller has to free
        // it.
        "malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc", "posix_memalign", "valloc",
        "pvalloc",
        "__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_memalign", "__libc_valloc", "__libc_pvalloc",
        "__libc_reallocarray",
        "_int_malloc", "_int_realloc", "_int_memalign", "sysmalloc",
        "strdup", "__strdup", "strndup", "__strndup", "wcsdup", "__wcsdup",
        // GLib.
        "g_malloc", "g_malloc0", "g_malloc_n", "g_malloc0_n", "g_try_malloc", "g_try_malloc0", "g_try_malloc_n",
        "g_realloc",
        "g_realloc_n", "g_try_realloc", "g_try_realloc_n", "g_slice_alloc", "g_slice_alloc0", "g_strdup", "g_strndup",
        "g_memdup", "g_memdup2",
        // Rust, Swift, Go's C side.
        "__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc", "__rdl_alloc", "__rdl_alloc_zeroed", "__rdl_realloc",
        "alloc::alloc::alloc", "alloc::alloc::alloc_zeroed", "alloc::alloc::realloc", "alloc::alloc::exchange_malloc",
        "swift_allocObject", "_swift_allocObject_", "swift_slowAlloc", "swift_slowAllocTyped", "swift_coroFrameAlloc",
        "_cgo_cmalloc", "_cgo_allocate",
    ]

    private static let beginnings = [
        // C++: operator new, and the functions through which the standard containers call it.
        "operator new(", "operator new[](", "void* operator new", "std::allocator<", "std::__new_allocator<",
        "__gnu_cxx::new_allocator<",
        "std::allocator_traits<", "std::__allocate_guarded<", "std::__1::allocator<", "std::__1::allocator_traits<",
        "std::__1::__libcpp_allocate",
        "std::__1::__allocate_at_least", "std::__1::__libcpp_operator_new",
        // Rust's Global, by its demangled names.
        "alloc::alloc::Global::alloc", "<alloc::alloc::Global as core::alloc::Allocator>::",
    ]
}

/// Libraries between programs and the kernel, by the names of their files.
package enum RuntimeLibraries {
    /// glibc's, and musl's, which is its loader, too.
    private static let libc = ["libc.so", "libc-2", "ld-musl-", "libc.musl-"]
    /// A library that a Python wheel brings along has a hyphen and a number in its name.
    private static let others = [
        "libheapsum.so", "ld-linux", "libstdc++.so", "libstdc++-", "libc++.so", "libc++abi.so", "libgcc_s.so",
        "libgcc_s-",
    ]

    package static func contains(file: String) -> Bool { isLibc(file: file) || others.contains { file.hasPrefix($0) } }

    package static func isLibc(file: String) -> Bool { libc.contains { file.hasPrefix($0) } }
}
