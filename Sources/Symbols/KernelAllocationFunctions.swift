// The kernel's functions that only pass on a block: its allocators, their internal functions, and the debugging and
// tracing code called from them. They apply only to kernel frames: a program's own `trace` is a function like any
// other.
//
// The kernel renames them every few versions, so families are recognized by the start of their names. The list is from
// mm/slub.c, mm/slab_common.c, mm/util.c, mm/vmalloc.c, mm/page_alloc.c, mm/percpu.c, mm/mempool.c, mm/kmemleak.c,
// mm/kasan/ and lib/dump_stack.c, from Linux 2.6 to 6.12.

/// The functions between the kernel's code and its memory.
package enum KernelAllocationFunctions {
    /// Whether a function of the kernel returns blocks that an allocator made, or prints or records a block's stack.
    package static func contains(_ function: String) -> Bool {
        // Clones made by the compiler: kmalloc.isra.0; wrappers for allocation profiling: kmalloc_noprof.
        var name = function.prefix { $0 != "." && $0 != "+" }
        if name.hasSuffix("_noprof") { name = name.dropLast(7) }
        return names.contains(String(name)) || beginnings.contains { name.hasPrefix($0) }
    }

    private static let names: Set<String> = [
        // Functions that print the stack.
        "trace", "dump_stack", "dump_stack_lvl", "dump_trace", "show_stack", "show_trace", "print_trace",
        "dump_backtrace", "unwind_backtrace", "show_trace_log_lvl",
        "show_stack_log_lvl", "walk_stackframe", "save_stack", "save_stack_trace", "stack_trace_save",
        "arch_stack_walk", "kasan_save_stack",
        "__show_stack", "__dump_stack", "dump_stack_print_info", "__save_stack_trace", "return_address",
        // SLUB, SLAB, and their debugging.
        "set_track", "set_track_prepare", "set_track_update", "init_object", "setup_object", "setup_object_debug",
        "create_object", "__create_object",
        "new_slab", "new_slab_objects", "allocate_slab", "alloc_slab_page", "get_partial_node", "get_any_partial",
        "cache_alloc_refill", "cache_grow",
        "fallback_alloc", "____cache_alloc", "____cache_alloc_node", "__cache_alloc", "cache_alloc_debugcheck_after",
        "__do_cache_alloc", "early_alloc",
        "kmem_getpages", "dbg_redzone1", "trace_kmalloc", "___slab_alloc", "__slab_alloc", "slab_alloc",
        "slab_alloc_node",
        // Functions that return a copy in a block of its own, and other sizes.
        "kzalloc", "kzalloc_node", "kcalloc", "kcalloc_node", "krealloc", "__krealloc", "__do_krealloc",
        "krealloc_array", "kvzalloc", "kvcalloc", "kvrealloc",
        "kasprintf", "kvasprintf", "kvasprintf_const", "kmemdup", "kmemdup_nul", "kvmemdup", "kmem_alloc",
        "sock_kmalloc",
        "memdup_user", "memdup_user_nul", "vmemdup_user", "strndup_user",
        // Pages.
        "get_page_from_freelist", "prep_new_page", "post_alloc_hook", "get_zeroed_page", "__get_free_pages",
        "get_free_pages", "alloc_buddy_huge_page",
        "__set_page_owner", "__set_page_owner_handle", "set_page_owner", "add_stack_record_to_list", "rmqueue",
        "rmqueue_bulk", "__rmqueue",
        "page_frag_alloc", "alloc_vmap_area", "__get_vm_area_node", "get_vm_area_caller", "vm_area_alloc_pages",
        // Per processor, mempools.
        "pcpu_alloc", "__alloc_percpu", "__alloc_percpu_gfp", "__alloc_reserved_percpu", "pcpu_memcg_post_alloc_hook",
    ]

    private static let beginnings = [
        "kmalloc", "__kmalloc", "__do_kmalloc", "kmem_cache_alloc", "__kmem_cache_alloc", "kmem_cache_zalloc",
        "kvmalloc", "__kvmalloc", "slab_post_alloc_hook",
        "slab_pre_alloc_hook", "alloc_debug_processing", "free_debug_processing", "alloc_single_from_",
        "alloc_from_new_slab", "kmemleak_", "kasan_", "__kasan_", "kmsan_", "kfence_alloc",
        "__kfence_alloc", "memcg_slab_post_alloc_hook", "__memcg_slab_post_alloc_hook", "kstrdup", "kstrndup",
        "vmalloc", "__vmalloc", "vzalloc", "vcalloc",
        "alloc_pages", "__alloc_pages", "alloc_page_", "__alloc_page_", "__alloc_frozen_pages", "alloc_frozen_pages",
        "folio_alloc", "__folio_alloc", "vma_alloc_folio",
        "mempool_alloc", "mempool_kmalloc", "devm_kmalloc", "devm_kzalloc", "devm_kcalloc", "devm_kstrdup",
        "devm_kmemdup", "dma_alloc_attrs", "dma_alloc_coherent",
        "slab_alloc_node", "stack_depot_", "__stack_depot_", "pcpu_alloc_", "trace_event_raw_event_k", "perf_trace_k",
        "__traceiter_k",
    ]
}
