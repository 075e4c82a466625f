// The app. Its release build is shrunk by R8; the rules for Rejoin are in the archive of rejoin-android.
plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.compose)
}

android {
    namespace = "dev.rejoin.todo"
    compileSdk = 37

    defaultConfig {
        applicationId = "dev.rejoin.todo"
        minSdk = 24
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
        // The instrumented test signs in with it: -PrejoinToken="$(server/token.sh)".
        providers.gradleProperty("rejoinToken").orNull?.let { testInstrumentationRunnerArguments["token"] = it }
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    buildFeatures {
        compose = true
    }
}

kotlin {
    compilerOptions {
        allWarningsAsErrors = true
        // The time of a verdict; Instant is stable since Kotlin 2.3.
        optIn.add("kotlin.time.ExperimentalTime")
    }
}

dependencies {
    implementation(libs.rejoin.android)
    implementation(libs.rejoin.compose)
    implementation(libs.activity.compose)
    implementation(libs.compose.foundation)
    implementation(libs.compose.material3)
    implementation(libs.lifecycle.runtime.compose)

    androidTestImplementation(libs.test.runner)
    androidTestImplementation(libs.test.junit)
}
