// Runs the scenarios of tests/scenarios, shared by all languages; each is one test with the scenario's name.

import Commands
import Foundation
@testable import Rejoin
import Testing

@Suite struct ScenarioTests {
    private func run(_ name: String = #function) async throws {
        let scenario = try #require(try ScenarioTests.scenarios().first { $0["name"].text == String(name.dropLast(2)) })
        try await watched(60, name) { try await Scenario(scenario).run() }
    }

    private static func scenarios() throws -> [JSON] {
        let folder = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../tests/scenarios").standardized
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return try files.filter { $0.pathExtension == "json" }.flatMap { try JSON(String(contentsOf: $0, encoding: .utf8)).array }
    }

    @Test func everyScenarioHasATest() throws {
        let source = try String(contentsOfFile: #filePath, encoding: .utf8)
        for scenario in try ScenarioTests.scenarios() { #expect(source.contains("@Test func \(scenario["name"].word)()")) }
    }

    @Test func data_action_is_performed_or_refuses_with_its_message() async throws { try await run() }
    @Test func waiting_action_is_performed_again_in_place_of_the_old() async throws { try await run() }
    @Test func action_over_its_budget_keeps_nothing() async throws { try await run() }
    @Test func action_that_writes_nothing_is_no_mutation() async throws { try await run() }
    @Test func action_code_that_fails_keeps_nothing_and_its_error_stays() async throws { try await run() }
    @Test func action_code_continues_after_a_failed_statement() async throws { try await run() }
    @Test func two_rows_of_one_identity_are_refused() async throws { try await run() }
    @Test func table_written_only_by_actions_refuses_other_writes() async throws { try await run() }
    @Test func actions_of_a_later_open_replace_those_of_the_first() async throws { try await run() }
    @Test func wrong_actions_are_named_together_at_open() async throws { try await run() }
    @Test func newer_action_takes_over_arguments_of_the_older() async throws { try await run() }
    @Test func action_code_runs_again_on_rows_of_the_server() async throws { try await run() }
    @Test func data_action_runs_again_on_rows_of_the_server() async throws { try await run() }
    @Test func action_code_that_throws_when_run_again_is_parked() async throws { try await run() }
    @Test func action_code_that_refuses_when_run_again_is_parked() async throws { try await run() }
    @Test func parked_action_is_performed_again_and_accepted() async throws { try await run() }
    @Test func accepted_write_is_shown_undone_and_redone() async throws { try await run() }
    @Test func undo_discards_a_waiting_write_and_ignores_one_without_effect() async throws { try await run() }
    @Test func undo_of_rows_that_changed_since_shows_them() async throws { try await run() }
    @Test func parked_and_pruned_writes_cannot_be_undone() async throws { try await run() }
    @Test func reset_discards_waiting_writes_by_id_only() async throws { try await run() }
    @Test func reset_that_keeps_the_queue_pulls_again() async throws { try await run() }
    @Test func reset_lets_the_next_user_take_the_file() async throws { try await run() }
    @Test func entry_is_pending_until_it_is_published() async throws { try await run() }
    @Test func check_of_the_rows_covers_both_models_and_resync_keeps_edits() async throws { try await run() }
    @Test func transaction_of_rows_and_log_is_refused() async throws { try await run() }
    @Test func denied_entry_is_parked_until_discarded() async throws { try await run() }
    @Test func action_on_the_log_runs_again_after_an_earlier_entry() async throws { try await run() }
    @Test func action_on_the_log_that_now_rejects_is_parked() async throws { try await run() }
    @Test func pending_lists_writes_until_their_verdict() async throws { try await run() }
    @Test func refused_write_is_parked_until_discarded() async throws { try await run() }
    @Test func parked_conflict_is_retried() async throws { try await run() }
    @Test func edit_of_a_parked_create_cannot_be_retried_alone() async throws { try await run() }
    @Test func parked_chain_is_edited_at_its_root_and_sent() async throws { try await run() }
    @Test func parked_write_is_edited_in_a_transaction_or_not_at_all() async throws { try await run() }
    @Test func edit_that_leaves_nothing_removes_the_mutation() async throws { try await run() }
    @Test func parked_chain_is_discarded_together() async throws { try await run() }
    @Test func policy_rebase_decides_a_conflict() async throws { try await run() }
    @Test func policy_keep_local_decides_a_conflict() async throws { try await run() }
    @Test func policy_accept_server_decides_a_conflict() async throws { try await run() }
    @Test func policy_manual_decides_a_conflict() async throws { try await run() }
    @Test func policy_of_an_unknown_table_is_named() async throws { try await run() }
    @Test func verdicts_are_kept_until_acknowledged() async throws { try await run() }
    @Test func statements_run_alone_together_or_not_at_all() async throws { try await run() }
    @Test func wrong_sql_is_invalid_input() async throws { try await run() }
    @Test func values_are_read_back_to_the_last_bit() async throws { try await run() }
    @Test func own_tables_are_altered_and_indexed() async throws { try await run() }
    @Test func checkpoint_empties_the_log_and_diagnose_hides_data() async throws { try await run() }
    @Test func suspended_client_refuses_until_resumed() async throws { try await run() }
    @Test func client_that_was_shut_down_refuses_and_its_file_opens_again() async throws { try await run() }
    @Test func open_file_is_shared_with_the_same_configuration_only() async throws { try await run() }
    @Test func wrong_configuration_names_every_problem() async throws { try await run() }
    @Test func client_without_a_server_cannot_sync() async throws { try await run() }
    @Test func unknown_names_are_invalid_input() async throws { try await run() }
    @Test func subscription_brings_its_rows_until_it_ends() async throws { try await run() }
    @Test func edit_is_accepted_after_its_subscription_has_ended() async throws { try await run() }
    @Test func right_of_a_subscription_comes_and_goes() async throws { try await run() }
    @Test func offline_edits_of_two_devices_merge_by_column() async throws { try await run() }
    @Test func search_index_finds_rows_of_another_device() async throws { try await run() }
    @Test func database_of_the_synchro_sdk_is_imported_and_sent() async throws { try await run() }
    @Test func syncing_starts_stops_and_follows_the_network() async throws { try await run() }
    @Test func unreachable_server_is_offline_until_it_answers() async throws { try await run() }
    @Test func expired_token_is_refreshed_once() async throws { try await run() }
    @Test func queue_waits_until_credentials_change() async throws { try await run() }
    @Test func transaction_is_seen_by_others_after_its_commit() async throws { try await run() }
    @Test func error_of_the_body_rolls_back_and_reaches_the_caller() async throws { try await run() }
    @Test func failed_statement_leaves_the_transaction_open() async throws { try await run() }
    @Test func failed_savepoint_undoes_its_own_part_only() async throws { try await run() }
    @Test func snapshot_does_not_change_while_others_write() async throws { try await run() }
}

/// One run of a scenario.
private final class Scenario: Hooks, @unchecked Sendable {
    private let scenario: JSON
    private let folder: Folder
    private let variables: Locked<[String: String]>
    private var server: StoryServer?
    private var schema = JSON.null

    init(_ scenario: JSON) throws {
        self.scenario = scenario
        folder = try Folder()
        variables = Locked(["folder": folder.url.path])
    }

    func run() async throws {
        let device = Device(hooks: self)
        do {
            for raw in scenario["steps"].array {
                let step = resolve(.object(raw.object.filter { $0.key != "expect" && $0.key != "save" }), .null)
                let isOfServer = step["on"].text == "server"
                if isOfServer || step["server"].isTrue || step["schema"].isTrue { try start() }
                if isOfServer, let server {
                    try check(raw, try JSON(server.order(line: JSON.object(step.object.filter { $0.key != "on" }).line)))
                } else {
                    try check(raw, await device.answer(step["do"].text == "open" ? try opening(step) : step))
                }
            }
        } catch {
            await device.end()
            throw error
        }
        await device.end()
    }

    private func start() throws {
        guard server == nil else { return }
        let server = try StoryServer(tokens: scenario["tokens"].isTrue, log: scenario["log"].isTrue)
        (self.server, schema) = (server, try JSON(server.schema()))
    }

    /// An `open` step with its path, address and manifest filled in.
    private func opening(_ step: JSON) throws -> JSON {
        var open: [String: JSON] = ["path": .string(folder.file("\(step["on"].text ?? "main").db").path)]
        if let server, step["server"].isTrue { open.merge(["url": .string(server.url.absoluteString), "user": .string("u1")]) { $1 } }
        open.merge(step.object) { $1 }
        if step["server"].isTrue || step["schema"].isTrue { open["schema"] = schema }
        return .object(open)
    }

    /// A value with its variables, `${name}` in any text, replaced.
    func resolve(_ value: JSON, _ given: JSON) -> JSON {
        switch value {
        case .array(let values): return .array(values.map { resolve($0, given) })
        case .object(let members): return .object(members.mapValues { resolve($0, given) })
        case .string(let text):
            let known = variables.with { $0 }.merging(given.object.mapValues(\.word)) { $1 }
            return .string(known.reduce(text) { $0.replacingOccurrences(of: "${\($1.key)}", with: $1.value) })
        default: return value
        }
    }

    func check(_ step: JSON, _ answer: JSON) throws {
        let expected = step["expect"] == .null ? JSON.object(["error": .null]) : resolve(step["expect"], .null)
        if !matches(answer, expected) { throw Own("\(step.line): \(answer.line)") }
        for (name, path) in step["save"].object {
            let found = path.word.split(separator: ".").reduce(answer) { value, part in Int(part).map { value.array[$0] } ?? value[String(part)] }
            variables.with { $0[name] = found.word }
        }
    }

    /// Compares an answer with an expectation, as tests/scenarios/README.md defines.
    private func matches(_ actual: JSON, _ expected: JSON) -> Bool {
        switch expected {
        case .object(let members): return members.allSatisfy { matches(actual[$0.key], $0.value) }
        case .array(let values): return actual.array.count == values.count && zip(actual.array, values).allSatisfy(matches)
        case .int(let number): return actual == .int(number) || actual["i"].int == Int(number)
        case .string("*"): return actual != .null
        case .string("@now"): return abs(Double(actual.int ?? 0) / 1000 - Date().timeIntervalSince1970) < 600
        case .string(let text) where text.hasPrefix("~"): return text.dropFirst().split(separator: "~").allSatisfy { actual.word.contains($0) }
        case .string(let text) where text.hasPrefix("!"): return !actual.word.contains(text.dropFirst())
        default: return actual == expected
        }
    }
}
