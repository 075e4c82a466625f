// The part of Foundation that React Native's headers for turbo modules name. It serves a check of types, and nothing can be linked.
#import <dispatch/dispatch.h>
#import <objc/NSObject.h>
#import <stdint.h>

#define NS_ASSUME_NONNULL_BEGIN _Pragma("clang assume_nonnull begin")
#define NS_ASSUME_NONNULL_END _Pragma("clang assume_nonnull end")
#define NS_ENUM_CHOICE(first, second, choice, ...) choice
#define NS_ENUM_NAMED(type, name) enum name : type name; enum name : type
#define NS_ENUM_PLAIN(type, ...) enum : type
#define NS_ENUM(...) NS_ENUM_CHOICE(__VA_ARGS__, NS_ENUM_NAMED, NS_ENUM_PLAIN)(__VA_ARGS__)
#define NS_OPTIONS(...) NS_ENUM(__VA_ARGS__)

typedef double NSTimeInterval;
typedef double CGFloat;
typedef struct { CGFloat x, y; } CGPoint;
typedef struct { CGFloat width, height; } CGSize;
typedef struct { CGPoint origin; CGSize size; } CGRect;

@interface NSNumber : NSObject
+ (instancetype)numberWithBool:(BOOL)value;
@end
@interface NSString : NSObject
@end
@interface NSConstantString : NSString
@end
@interface NSArray<T> : NSObject
@end
@interface NSMutableArray<T> : NSArray <T>
@end
@interface NSDictionary<K, V> : NSObject
@end
@interface NSMutableDictionary<K, V> : NSDictionary <K, V>
@end
@class NSBundle, NSData, NSError, NSException, NSInvocation, NSNotificationCenter, NSURL, NSURLQueryItem;
