// The project: one app. The packages of Rejoin come from the repository that `cargo xtask package android` builds.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        maven("../../target/package/android/maven") { content { includeGroup("dev.rejoin") } }
        google()
        mavenCentral()
    }
}

rootProject.name = "rejoin-todo"
include(":app")
