/** The package on Node. */
import './provide';

export * from '../src/index';
