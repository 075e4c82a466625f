// What the reader of the tutorial has: a way to get the user's token.

func signIn(again refresh: Bool) async throws -> String? { nil }
