// Names of before.

package func escaped(_ text: String) -> String { printable(text) }
package func grouped(_ value: UInt64) -> String { separated(value) }
