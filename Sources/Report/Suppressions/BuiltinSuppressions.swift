// What the C and C++ runtimes allocate once and keep: no program can free it, and no check should fail because of it.
// Found by recording small programs and examining what is live at their end. Valgrind frees the same blocks by
// __libc_freeres before its check.
//
// Invariant: no rule matches what a program has to free itself, such as getaddrinfo's list or a FILE. Each rule applies
// to a few blocks of one stack in a process: if there are more, something repeats, and that is a leak.

extension Suppressions {
    /// The rules for the runtimes' own blocks.
    package static func builtin() -> Suppressions {
        var suppressions = Suppressions()
        // Text in the format of suppression files: `heapsum check --show-suppressed` shows these names.
        do throws(SuppressionError) { try suppressions.read(Array(text.utf8), name: "") } catch {
            // A test reads them all. An invalid rule would suppress nothing.
            suppressions.rules.removeAll()
        }
        return suppressions
    }

    static var text: String { rules.map(\.text).joined() }

    // Several lists and not one sum: some compilers give up on the types of such a long expression.
    private static var rules: [Builtin] { reserves + ofOneStack + ofFunctions.flatMap { $0 } }

    // The C++ runtime's reserve for exceptions when memory is exhausted: 72,704 bytes, allocated by its first
    // constructor. The innermost frames are libstdc++'s, one or more depending on its symbols; the next is the loader,
    // which runs constructors.
    private static let reserves: [Builtin] = (1 ... 4).map { (count: Int) -> Builtin in
        let innermost = Array(repeating: "obj:*/libstdc++.so.6*", count: count)
        return Builtin("libstdc++: reserve for exceptions", 1, innermost + ["obj:*/ld-linux*"])
    }

    private static let ofOneStack: [Builtin] = [
        Builtin("libstdc++: reserve for exceptions", 1, ["fun:_GLOBAL__sub_I_eh_alloc.cc"]),
        Builtin("libstdc++: reserve for exceptions", 1, ["...", "fun:_ZN*12_GLOBAL__N_14poolC?Ev"]),
        Builtin("libstdc++: streams without stdio", 2, ["...", "fun:_ZNSt8ios_base15sync_with_stdioEb"]),
        Builtin("libstdc++: a named locale", 4, ["...", "fun:_ZNSt6localeC?EPKc"]),
        Builtin("libstdc++: a named locale", 4, ["...", "fun:_ZNSt6localeC?ERKNSt7__cxx1112basic_stringI*"]),
        // A facet's cache, which a named locale makes at its first use: in the stream's function, or in one below
        // it.
        Builtin("libstdc++: a named locale", 4, ["obj:*/libstdc++.so.6*", "fun:_ZNKSt7num_*"]),
        Builtin("libstdc++: a named locale", 4, ["obj:*/libstdc++.so.6*", "fun:_ZNKSt9money_*"]),
        Builtin("libstdc++: a named locale", 4, ["...", "fun:_ZNKSt11__use_cache*"]),
        Builtin("libc: buffers of standard streams", 3, ["fun:_IO_file_doallocate"]),
        Builtin("libc: buffers of standard streams", 3, ["fun:_IO_wdoallocbuf"]),
        Builtin("libc: buffers of standard streams", 3, ["fun:_IO_wfile_doallocate"]),
        // A finished thread's stack is kept for the next thread, with its table of thread-local blocks; or the
        // thread still runs.
        Builtin("libc: tables of threads", 16, ["obj:*/ld-linux*", "...", "fun:_dl_allocate_tls"]),
        Builtin("libc: tables of threads", 16, ["fun:_dl_allocate_tls"]),
        Builtin("libc: tables of threads", 16, ["obj:*/ld-linux*", "...", "fun:__tls_get_addr"]),
        Builtin("libc: tables of loaded libraries", 256, ["obj:*/ld-linux*", "...", "fun:_dl_catch_exception"]),
        Builtin("libc: tables of loaded libraries", 16, ["obj:*/libc.so.6", "...", "fun:__libc_unwind_link_get"]),
        Builtin("libc: functions to call at exit", 64, ["...", "fun:__new_exitfn"]),
        Builtin("libc: functions to call at exit", 64, ["...", "fun:__cxa_atexit"]),
        // The caller has to free newlocale's own block; the locale's data stay.
        Builtin("libc: data of locales", 256, ["obj:*/libc.so.6", "...", "fun:newlocale"]),
        Builtin("libc: conversions of wide streams", 64, ["...", "fun:__wcsmbs_load_conv"]),
        // At least two calls further in: what the functions allocate directly, the caller frees.
        Builtin("libc: tables of iconv", 8, ["obj:*/libc.so.6", "obj:*/libc.so.6", "...", "fun:__gconv_open"]),
        Builtin("libc: the name services", 8, ["obj:*/libc.so.6", "obj:*/libc.so.6", "...", "fun:getaddrinfo"]),
        Builtin("libc: tables of iconv", 64, ["...", "fun:__gconv_find_shlib"]),
        Builtin("libc: tables of iconv", 64, ["...", "fun:__gconv_lookup_cache"]),
    ]

    // Functions that keep what they allocate and return nothing that must be freed.
    private static let ofFunctions: [[Builtin]] = [
        of(["setlocale"], "libc: data of locales", 256),
        of(["_nl_find_locale", "_nl_load_locale"], "libc: data of locales", 256),
        of(
            [
                "textdomain", "bindtextdomain", "bind_textdomain_codeset", "dcgettext", "__dcgettext", "__dcigettext",
                "dcngettext",
            ], "libc: catalogues of messages", 64),
        of(
            [
                "tzset", "localtime", "localtime_r", "mktime", "ctime", "ctime_r", "strftime", "strftime_l",
                "__strftime_l", "__tz_convert", "tzset_internal", "syslog", "vsyslog", "__syslog_chk", "__vsyslog_chk",
            ], "libc: the time zone", 64),
        of(["setenv", "putenv", "__add_to_environ"], "libc: the environment", 64),
        of(["strerror", "strerror_l", "strsignal"], "libc: text of an error", 1),
        of(
            [
                "getpwnam", "getpwuid", "getpwent", "getgrnam", "getgrgid", "getgrent", "getspnam", "gethostbyname",
                "gethostbyname2", "gethostbyaddr", "getservbyname", "getservbyport", "getservent", "getprotobyname",
                "getprotobynumber", "getnetbyname", "getgrouplist", "initgroups", "getpwnam_r", "getpwuid_r",
                "getgrnam_r", "getgrgid_r", "gethostbyname_r", "gethostbyname2_r", "getservbyname_r",
                "getservbyport_r",
            ], "libc: the name services", 64),
        of(
            [
                "__nss_database_get", "__nss_module_*", "__nss_action_parse", "__nss_lookup_function",
                "__nss_hosts_lookup2", "nss_database_*", "__resolv_context_get", "__resolv_context_get_*",
                "__res_vinit", "__check_pf", "__nss_next2", "__nss_*_lookup2",
            ], "libc: the name services", 64),
    ]

    private static func of(_ functions: [String], _ name: String, _ mostBlocks: Int) -> [Builtin] {
        functions.map { Builtin(name, mostBlocks, ["...", "fun:\($0)"]) }
    }

    private struct Builtin: Sendable {
        let text: String
        init(_ name: String, _ mostBlocks: Int, _ frames: [String]) {
            text = "{\n\(name)\nMemcheck:Leak\nmost-blocks:\(mostBlocks)\n\(frames.joined(separator: "\n"))\n}\n"
        }
    }
}
