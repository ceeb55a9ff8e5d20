// A page: one HTML file that contains its style, its script and its data. A browser shows it without a network.
//
// The page's Content-Security-Policy allows only the built-in script and style, by their digests. The data is not a
// script: names in it, which may hold anything, reach the document only as text.

import CAssets

/// What a page shows. Each kind has its own script, made of shared parts, in `Assets`, which CAssets embeds.
package enum PageKind: String, Sendable {
    /// One program's heap, or what grew in it: stacks, flame graph, timeline.
    case heap
    /// A system's memory over time.
    case watch

    private var scripts: [asset] {
        let shared = [asset_text_js(), asset_look_js(), asset_state_js(), asset_chart_js()]
        return switch self {
        case .heap:
            shared + [
                asset_data_js(), asset_tree_js(), asset_flame_js(), asset_outline_js(), asset_verdict_js(),
                asset_holders_js(), asset_pages_js(), asset_table_js(), asset_stack_js(), asset_timeline_js(),
                asset_histogram_js(),
                asset_current_js(), asset_words_js(), asset_colours_js(), asset_columns_js(), asset_facts_js(),
                asset_heap_js(),
            ]
        case .watch: shared + [asset_watch_js()]
        }
    }

    /// All parts as one script in a function scope: its names are visible to the parts only.
    var script: [UInt8] { Array("(() => {\n'use strict';\n".utf8) + scripts.flatMap(\.buffer) + Array("})();\n".utf8) }
    var style: [UInt8] { Array(asset_page_css().buffer) }
}

extension asset {
    fileprivate var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: bytes, count: size) }
}

package struct Page {
    package var kind: PageKind
    package var title: String
    /// The text for readers without JavaScript.
    package var summary: [String]

    package init(_ kind: PageKind, title: String, summary: [String]) {
        self.kind = kind
        self.title = title
        self.summary = summary
    }

    /// Writes the page's bytes in pieces, with `data` in it.
    package func write<Failure: Error>(_ data: PageData, to out: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        let script = kind.script, style = kind.style
        let policy =
            "default-src 'none'; script-src 'sha256-\(Digest.sha256Base64(script))'; style-src "
            + "'sha256-\(Digest.sha256Base64(style))'; "
            + "img-src data:; base-uri 'none'; form-action 'none'"
        let head = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="\(policy)">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>\(Self.text(title))</title>
            <link rel="icon" href="data:,">
            <style>
            """
        try out(Array(head.utf8) + style)
        let body = """
            </style>
            </head>
            <body>
            <header class="masthead" id="masthead">\
            <h1>\(Self.text(title))</h1>\(summary.map { "<p>\(Self.text($0))</p>" }.joined())</header>
            <main id="main"><noscript><p class="note">The graphs and tables of this page \
            are drawn by its own script, which is switched off.</p></noscript></main>
            <script type="application/json" id="data">
            """
        try out(Array(body.utf8))
        try out(data.bytes)
        try out(Array("</script>\n<script>".utf8) + script)
        try out(Array("</script>\n</body>\n</html>\n".utf8))
    }

    /// Escapes text for HTML.
    static func text(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
