// The links of glibc's lists of free chunks: fast bins, and the caches of threads. Since 2.32 a link is stored as the
// bits in which it differs from its own address, shifted by 12.

/// Follows one list, whose links are all stored alike.
struct FreeListLinks {
    private var isMangled: Bool?

    /// What a link leads to; 0 at the end of the list.
    ///
    /// - Parameters:
    ///   - link: the stored word.
    ///   - place: its address.
    ///   - isMember: whether a chunk or an entry of the list may be at an address.
    mutating func target(of link: UInt64, at place: UInt64, isMember: (UInt64) -> Bool) -> UInt64 {
        let demangled = link ^ place >> 12
        // The end of a list is 0, mangled or not: which of the two shows in any link.
        if isMangled == nil { isMangled = link == 0 ? false : demangled == 0 || isMember(demangled) }
        return isMangled == true ? demangled : link
    }
}
