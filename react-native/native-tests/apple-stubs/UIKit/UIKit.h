// See Foundation.h.
#import <Foundation/Foundation.h>

@class UIView, UIViewController;
