// The sync status as a small badge. SyncTexts.swift decides what it shows.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

/// Shows the sync status of the environment's database, and the numbers of waiting and of parked mutations.
///
/// ```swift
/// .toolbar { SyncBadge { isQueueShown = true } }
/// ```
@available(iOS 17, macOS 14, *)
public struct SyncBadge: View {
    @Environment(\.rejoin) private var database
    @State private var monitor: SyncMonitor?
    private let texts: SyncTexts
    private let action: (@MainActor () -> Void)?

    /// - Parameter texts: the texts; English by default.
    /// - Parameter action: runs on a tap; without it the badge is no button.
    public init(texts: SyncTexts = SyncTexts(), action: (@MainActor () -> Void)? = nil) {
        self.texts = texts
        self.action = action
    }

    public var body: some View {
        Group {
            if let action {
                Button(action: action) { label }.buttonStyle(.plain)
            } else {
                label
            }
        }
        .task(id: ObjectIdentifier(database)) { monitor = SyncMonitor(database) }
    }

    private var content: BadgeContent {
        BadgeContent(monitor?.status.state ?? .idle, waiting: monitor?.waiting ?? 0, parked: monitor?.parked ?? 0, texts)
    }

    private var label: some View {
        HStack(spacing: 6) {
            sign
            Text(([content.label] + content.counts).joined(separator: " · ")).lineLimit(1)
        }
        .font(.caption)
        .padding(.horizontal, 10)
        .padding(.vertical, 5)
        .background(content.tone.color.opacity(0.15), in: Capsule())
        .accessibilityElement(children: .ignore)
        .accessibilityLabel(Text(texts.description(content.label, content.counts)))
    }

    /// A dot, or a ring while work is in progress.
    @ViewBuilder private var sign: some View {
        if let progress = content.progress {
            ProgressView(value: progress).progressViewStyle(.circular).controlSize(.mini)
        } else if content.tone == .active {
            ProgressView().controlSize(.mini)
        } else {
            Circle().fill(content.tone.color).frame(width: 8, height: 8)
        }
    }
}

extension BadgeTone {
    fileprivate var color: Color {
        switch self {
        case .calm: .green
        case .active: .blue
        case .waiting: .gray
        case .alert: .red
        }
    }
}
#endif
