// What the names of the kernel's slab caches tell.

enum SlabCaches {
    /// Whether the kernel shrinks the cache when memory is short: directory entries, inodes of file systems,
    /// descriptions of cached pages. Such a cache grows for weeks with the files that were used, and leaks nothing.
    ///
    /// These are created with SLAB_RECLAIM_ACCOUNT (fs/dcache.c, fs/buffer.c, lib/radix-tree.c and each file system's
    /// inodes). So are inodes of sockets, tmpfs and message queues, but these stay while somebody holds them, and may
    /// leak.
    static func isReclaimable(_ name: String) -> Bool {
        if ["sock_inode_cache", "shmem_inode_cache", "mqueue_inode_cache"].contains(name) { return false }
        return name.hasSuffix("inode_cache") || name.hasSuffix("_inode")
            || ["dentry", "buffer_head", "radix_tree_node", "ext4_extent_status"].contains(name)
    }
}
