// The kernel's slab caches, by what their names tell.

enum SlabCaches {
    /// Whether the kernel shrinks the cache when memory is short: directory entries, inodes of file systems, what
    /// describes cached pages. Such a cache grows with the files that were looked at, for weeks, and leaks nothing.
    ///
    /// These are created with SLAB_RECLAIM_ACCOUNT (fs/dcache.c, fs/buffer.c, lib/radix-tree.c and each file system's
    /// inodes). Inodes of sockets, of tmpfs and of message queues are, too; but those stay for as long as somebody
    /// holds them, and may leak.
    static func isReclaimable(_ name: String) -> Bool {
        if ["sock_inode_cache", "shmem_inode_cache", "mqueue_inode_cache"].contains(name) { return false }
        return name.hasSuffix("inode_cache") || name.hasSuffix("_inode")
            || ["dentry", "buffer_head", "radix_tree_node", "ext4_extent_status"].contains(name)
    }
}
