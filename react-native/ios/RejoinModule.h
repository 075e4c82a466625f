/// The turbo module "Rejoin", which React Native creates by this class name (`codegenConfig` of package.json).
#import <RejoinSpec/RejoinSpec.h>

@interface RejoinModule : NSObject <NativeRejoinSpec>
@end
