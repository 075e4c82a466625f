/** The public API of the package. */
export { type CollectionDatabase, type KeyColumn, rejoinCollectionOptions, type RejoinCollectionConfig, type RejoinCollectionUtils } from './options';
export { rejoinMutationFn } from './writes';
