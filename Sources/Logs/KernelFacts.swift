// What a kernel's log doesn't say of its kernel, and the user may.

package struct KernelFacts: Sendable {
    /// The slab cache that the log is of, or its objects' size.
    package var cache: SlabCache?
    /// The size of a page. Logs count pages, and never say it.
    package var pageBytes: UInt64

    /// - Parameter pageBytes: 1 ... 1 << 24, so that no page's size times 2 to the power of an order overflows.
    package init(cache: SlabCache? = nil, pageBytes: UInt64 = 4096) {
        (self.cache, self.pageBytes) = (cache, min(max(pageBytes, 1), 1 << 24))
    }
}
