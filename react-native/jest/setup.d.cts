/** Has no exports: its import replaces `@rejoin/react-native` in the tests of one file. */
export {};
