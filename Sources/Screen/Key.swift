/// A key. Their meanings follow top, htop and less.
package enum Key: Equatable, Sendable {
    case up, down, left, right, pageUp, pageDown, home, end
    case enter, escape, backspace, interrupt
    case wheelUp, wheelDown
    /// A click on this line of the screen, counted from 0.
    case click(Int)
    case character(Character)
}
